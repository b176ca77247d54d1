"""What a run will cost and how long it will take, before it is run.

``limits`` has what each trial's pods may take at most, from the task's own limits. Each earlier trial is a ``run``,
read by way of ``history``: ``earlier`` finds how long they took (``alike`` says which), ``used`` what they used.
``forecast`` makes durations of that, ``bill`` adds up, ``right_size`` proposes sizes; ``room`` asks what the account
lets; ``prepared`` does it all for a job that is about to be sent. All but ``history``, ``earlier``, ``used``, ``room``
and ``prepared`` is pure.
"""
