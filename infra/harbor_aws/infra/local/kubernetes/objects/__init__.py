"""The objects of the API: kept, selected, patched, checked. Values and rules; no I/O."""
