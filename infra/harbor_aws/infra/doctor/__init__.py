"""What makes a run fail at 2 a.m., looked for beforehand: ``harbor-aws doctor``.

One module per theme has the checks; ``catalogue`` lists them, ``run`` lets each have its time, ``subject`` holds what
they look at. Nothing is changed, but for the one pod that ``probe`` makes and deletes. ``finding`` is pure.
"""
