"""The dead-letter queue: seen without being disturbed, replayed exactly once, purged.

``letter`` is what is known of one, and pure; a worker takes from it what it writes. ``sweep`` alone receives.
``browse``, ``replay`` and ``purge`` are what can be done.
"""
