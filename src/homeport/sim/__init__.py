"""The simulator: the shipped control plane and agents in a made-up world, on virtual time, from one seed.

``scenario`` draws what happens and ``definitions`` what is run, ``rollouts`` what is asked of services, ``world`` plays
it. ``audit`` holds every commit against the ``invariants``, ``containers`` what each container does against those of
its ``conduct``, ``service_book`` services against those of ``serving``; ``rest`` asks what is left in the end,
``shorten`` finds the shortest story of a failure. Made up is only what no process has in itself: time (``loop``), death
(``process``), the network (``net``), machines (``machine``, ``runtime``), the journal's disk (``control``) and a caller
(``client``). ``homeport sim --seeds 1000`` plays.
"""
