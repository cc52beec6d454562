"""Names of classes: their order, and names that people would take for one another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from flowernoise.errors import BadRequestError
from flowernoise.registry import did_you_mean
from flowernoise.safe.paths import as_utf8, name_of


def in_order(names: Iterable[str]) -> list[str]:
    """Names, each once, in the order of tables: numbers by value, anything else as text.

    >>> in_order(["10", "9", "9"]), in_order(["tulip", "rose", "10"])
    (['9', '10'], ['10', 'rose', 'tulip'])
    """
    unique = set(names)
    numbers = all(re.fullmatch(r"-?\d{1,18}", name, re.ASCII) for name in unique)
    return sorted(unique, key=lambda name: (int(name) if numbers else 0, name))


def numbered(
    where: str, labels: Sequence[str], classes: Sequence[str] | None = None
) -> tuple[tuple[str, ...], list[int]]:
    """The names of the classes, and the number of each label's class.

    Args:
        where: where the labels are from, for messages.
        labels: names of classes.
        classes: all classes in their order; None for those of the labels.

    Raises:
        BadRequestError: a label is empty or not a class, or two classes have names that could be confused.

    >>> numbered("labels.csv", ["tulip", "rose", "tulip"])
    (('rose', 'tulip'), [1, 0, 1])
    """
    names = in_order(labels) if classes is None else list(classes)
    if "" in names:
        raise BadRequestError(f"{where}: a label is empty; give it a name, or leave its row out")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequestError(f"{where} names class {twice!r} twice; keep one of them")
    refuse_confusable(where, "classes", names)
    numbers = {name: number for number, name in enumerate(names)}
    for label in labels:
        if label not in numbers:
            raise BadRequestError(
                f"{where}: {label!r} is not a class{did_you_mean(label, names)}; there are: {', '.join(names)}"
            )
    return tuple(map(name_of, names)), [numbers[label] for label in labels]


def refuse_confusable(where: str, what: str, names: Iterable[str]) -> None:
    """Refuses names that become equal when written, normalised, trimmed or compared without case.

    Args:
        where: where they are from, for the message.
        what: what they name, in the plural.
        names: the names, each once.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = _normal(_normal(name_of(name)).casefold()).strip()
        if key in seen:
            raise BadRequestError(
                f"{where}: the {what} {as_utf8(seen[key])!a} and {as_utf8(name)!a} "
                f"{_how_equal(name_of(seen[key]), name_of(name))}; rename or merge them"
            )
        seen[key] = name


def _how_equal(one: str, other: str) -> str:
    if one == other:
        return "look alike when written, as one of them is not UTF-8 or not printable"
    if _normal(one) == _normal(other):
        return "are the same letters in different Unicode forms"
    if one.strip() == other.strip():
        return "differ only in spaces around them"
    return "differ only in upper and lower case"


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
