"""The images of a job's tasks, built before anything is sent.

``source`` says what an image is built from, ``context`` packs it; ``embedded`` and ``codebuild`` have the stack's
builder build what is missing.
"""
