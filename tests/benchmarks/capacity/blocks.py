"""Parts of a page that are made: each between two comments that nobody sees. Pure."""

from __future__ import annotations


def replaced(page: str, name: str, content: str) -> str:
    """The page with this content between ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    Raises:
        ValueError: it has no such part.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"The page has no part between {begin.strip()} and {end.strip()}.")
    return f"{before}{begin}{content}{end}{after}"
