"""Text that is safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Text on one line of valid UTF-8: what is not UTF-8 or not printable is written as its escape.

    >>> print(printable("roses/a\tb.jpg"))
    roses/a\tb.jpg
    """
    valid = text.encode("utf-8", "backslashreplace").decode()
    return valid if valid.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in valid)
