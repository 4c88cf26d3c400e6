"""The simulator: the shipped control plane and agents in a made-up world, on virtual time, from one seed.

``scenario`` draws what happens, ``world`` plays it, ``audit`` holds every commit against the ``invariants``, ``shorten``
finds the shortest story of a failure. Made up are only what no process can do without: time (``loop``), death
(``process``), the network (``net``), machines (``machine``), a disk for the journal (``control``) and a caller
(``client``). ``python -m homeport.sim --seeds 1000`` plays.
"""
