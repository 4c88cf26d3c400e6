"""The simulator: the shipped control plane and agents in a made-up world, on virtual time, from one seed.

``scenario`` draws what happens, ``world`` plays it, ``audit`` holds every commit against the ``invariants``, ``rest``
asks what is left in the end, ``shorten`` finds the shortest story of a failure. Made up is only what no process has in
itself: time (``loop``), death (``process``), the network (``net``), machines (``machine``), the journal's disk
(``control``) and a caller (``client``). ``python -m homeport.sim --seeds 1000`` plays.
"""
