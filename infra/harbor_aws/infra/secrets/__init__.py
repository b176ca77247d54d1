"""The workers' secrets: their names, where they are kept, and what they refer to.

A worker reads them as files, one a variable: those of a Kubernetes Secret on a deployed stack, those of a directory of
the local one. A value may be a reference to Secrets Manager instead, which the worker resolves when it begins.
"""
