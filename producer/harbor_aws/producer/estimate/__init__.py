"""What a run will cost and how long it will take, before it is run.

``limits`` has what each trial's pods may take at most, from the task's own limits; ``earlier`` reads what trials of the
same tasks took before; ``forecast`` makes durations of that; ``bill`` adds up; ``quota`` asks what the account lets.
Everything but ``earlier`` and ``quota`` is pure.
"""
