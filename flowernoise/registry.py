"""Registries of the things a user can pick, by name, and the parser for their specs.

Each thing is one decorated function. Its keyword-only arguments are its parameters. Types, defaults and allowed values
come from the signature and help from the docstring, so there is no second list to maintain.

>>> from typing import Annotated
>>> flavours = Registry("flavour")
>>> @flavours.register()
... def vanilla(portion, *, sugar: Annotated[float, Between(0, 1)] = 0.5, topping: str = "none"):
...     "Plain vanilla."
...     return f"{portion} with {sugar} sugar, {topping}"
>>> spec = flavours.parse("vanilla:topping=nuts,sugar=0.50")
>>> str(spec)
'vanilla:topping=nuts'
>>> spec("a cone")
'a cone with 0.5 sugar, nuts'
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from flowernoise.errors import BadRequestError


@dataclasses.dataclass(frozen=True)
class Between:
    """The allowed range of a number, for ``Annotated``: low ≤ value ≤ high, excluding the ends named in ``open``."""

    low: float
    high: float = math.inf
    open: str = ""  # "low", "high" or "low high"

    def admits(self, value: float) -> bool:
        """Whether a number lies in the range."""
        above = value > self.low if "low" in self.open else value >= self.low
        below = value < self.high if "high" in self.open else value <= self.high
        return above and below and -math.inf < value < math.inf

    def __str__(self) -> str:
        lower = f"{'above' if 'low' in self.open else 'at least'} {format_value(float(self.low))}"
        if math.isinf(self.high):
            return lower
        return f"{lower} and {'below' if 'high' in self.open else 'at most'} {format_value(float(self.high))}"


@dataclasses.dataclass(frozen=True)
class FilePath:
    """For ``Annotated``: the text is a file path, or one of the words accepted in its place."""

    instead: tuple[str, ...] = ()


def whole_number(text: str) -> int:
    """Reads a whole number in ASCII digits. Python's ``int`` would also accept ``1_000`` and digits of other scripts.

    Raises:
        ValueError: the text is not a whole number.

    >>> whole_number("12"), whole_number("-3")
    (12, -3)
    """
    return int(_as_written(text))


def number(text: str) -> float:
    """Reads a decimal number in ASCII; a number too large for a float becomes infinite.

    Raises:
        ValueError: the text is not a number.

    >>> number("0.3"), number("1e-3"), number("1e400")
    (0.3, 0.001, inf)
    """
    return float(_as_written(text))


def _as_written(text: str) -> str:
    if not text.isascii() or "_" in text:
        raise ValueError(f"{text!r} is not written in plain digits")
    return text


READERS: Mapping[type, Callable[[str], Any]] = types.MappingProxyType({int: whole_number, float: number, str: str})


def read(kind: type, text: str) -> Any:
    """Reads a value of a type.

    Raises:
        ValueError: the text is not such a value; the message is worded to follow the text.

    >>> read(float, "0.5"), read(bool, "true")
    (0.5, True)
    """
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError("is neither true nor false")
        return text == "true"
    try:
        value = READERS[kind](text)
    except ValueError:
        raise ValueError("is not a whole number" if kind is int else "is not a number") from None
    if kind is float and not math.isfinite(value):
        raise ValueError("is not a finite number")
    return value


def refuse(value: Any, choices: Collection[str], range: Between | None) -> None:
    """Refuses a value that is out of range or, if there are choices, not one of them.

    Raises:
        ValueError: says what is allowed, worded to follow the value.
    """
    if choices and value not in choices:
        raise ValueError(f"is not one of {', '.join(choices)}{did_you_mean(value, choices)}")
    if range and not range.admits(value):
        raise ValueError(f"must be {range}")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One ``key=value`` that a spec takes."""

    name: str
    type: type
    default: Any
    choices: tuple[str, ...] = ()
    range: Between | None = None
    file: FilePath | None = None

    def parse(self, text: str, owner: str) -> Any:
        """The value that ``text`` stands for.

        Raises:
            BadRequestError: the text has the wrong type, is not one of the choices, or is out of range.
        """
        try:
            value = read(self.type, text)
            refuse(value, self.choices, self.range)
        except ValueError as error:
            given = text if text.isprintable() else ascii(text)
            raise BadRequestError(f"{owner}: {self.name}={given} {error}") from None
        return value


@dataclasses.dataclass(frozen=True)
class Entry:
    """One registered thing: its function, its parameters, and the properties it was registered with."""

    kind: str
    name: str
    function: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    properties: Mapping[str, Any]
    unkeyed: str | None = None

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]


@dataclasses.dataclass(frozen=True)
class Spec:
    """A thing and its parameters, written ``name:key=value,…``; equal specs have equal strings."""

    entry: Entry
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the thing."""
        return self.entry.name

    @property
    def files(self) -> Mapping[str, str]:
        """Paths of the files it names, by parameter."""
        paths = {key: parameter.file for key, parameter in self.entry.parameters.items() if parameter.file}
        return {key: self.values[key] for key, path in paths.items() if self.values[key] not in path.instead}

    def __str__(self) -> str:
        given = {key: value for key, value in self.values.items() if value != self.entry.parameters[key].default}
        parts = []
        unkeyed = self.entry.unkeyed
        if unkeyed in given and (text := format_value(given[unkeyed])) and "=" not in text:
            parts.append(text)
            del given[unkeyed]
        parts += [f"{key}={format_value(given[key])}" for key in sorted(given)]
        return f"{self.name}:{','.join(parts)}" if parts else self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and str(self) == str(other) and self.entry.kind == other.entry.kind

    def __hash__(self) -> int:
        return hash((self.entry.kind, str(self)))

    def __call__(self, *data: Any) -> Any:
        """Calls the thing's function on ``data`` with the spec's parameters."""
        return self.entry.function(*data, **self.values)


class Registry:
    """All things of one kind, by name, in order of registration."""

    def __init__(self, kind: str, plural: str | None = None) -> None:
        self.kind = kind
        self.plural = plural or f"{kind}s"
        self._entries: dict[str, Entry] = {}

    def register(self, *, unkeyed: str | None = None, **properties: Any) -> Callable[[Any], Any]:
        """Decorator: registers a function under its own name.

        Args:
            unkeyed: the parameter that a spec may give without its key, as in ``tfds:cifar10``.
            properties: facts about the thing for the code that uses it, such as the input it needs.
        """

        def decorate(function: Any) -> Any:
            name = function.__name__.rstrip("_")
            if name in self._entries:
                raise RuntimeError(f"two {self.plural} are called {name}")
            parameters = {parameter.name: parameter for parameter in _parameters_of(function)}
            self._entries[name] = Entry(self.kind, name, function, parameters, properties, unkeyed)
            return function

        return decorate

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def names(self) -> tuple[str, ...]:
        """Names of the things."""
        return tuple(self._entries)

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise BadRequestError(
                f"unknown {self.kind} {name!r}{did_you_mean(name, self.names())}; there are: {', '.join(self.names())}"
            )
        return self._entries[name]

    def parse(self, text: str) -> Spec:
        """Reads ``name`` or ``name:key=value,key=value``.

        Raises:
            BadRequestError: an unknown name or key (the message lists the choices), a repeated key, or a bad value.
        """
        name, _, rest = text.strip().partition(":")
        entry = self[name]
        values = {key: parameter.default for key, parameter in entry.parameters.items()}
        given: set[str] = set()
        for position, part in enumerate(_parts(rest, entry)):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals:
                if position or entry.unkeyed is None:
                    raise BadRequestError(f"{self.kind} {text!r}: {part!r} is not of the form key=value")
                key, value = entry.unkeyed, part.strip()
            if key not in entry.parameters:
                raise BadRequestError(_unknown_key(entry, key))
            if key in given:
                raise BadRequestError(f"{self.kind} {text!r}: {key} is given twice")
            given.add(key)
            values[key] = entry.parameters[key].parse(value, f"{self.kind} {name}")
        missing = [key for key, value in values.items() if value is inspect.Parameter.empty]
        if missing:
            raise BadRequestError(f"{self.kind} {name} needs {missing[0]}, as in {name}:{missing[0]}=…")
        return Spec(entry, types.MappingProxyType(values))


def _parts(rest: str, entry: Entry) -> list[str]:
    """A spec split at its commas, except commas inside a spec that is a value, or inside the text that needs no key.

    A key that the thing does not take belongs to the spec before it: ``instance:backbone=keras:VGG16,weights=none``.
    """
    parts: list[str] = []
    for part in rest.split(",") if rest else []:
        key, equals, _ = (piece.strip() for piece in part.partition("="))
        if equals and key not in entry.parameters and parts and ":" in parts[-1].partition("=")[2]:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    unkeyed = entry.parameters.get(entry.unkeyed or "")
    if unkeyed is None or unkeyed.type is not str or not parts:
        return parts
    if "=" in parts[0] and parts[0].partition("=")[0].strip() != unkeyed.name:
        return parts
    end = next((place for place, part in enumerate(parts) if place and "=" in part), len(parts))
    return [",".join(parts[:end]), *parts[end:]]


def format_value(value: Any) -> str:
    """The canonical text of a value: the shortest decimal that reads back equal, ``true``/``false``, or the string.

    >>> format_value(0.30), format_value(1.0), format_value(1e-3), format_value(True)
    ('0.3', '1', '0.001', 'true')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the closest of ``choices``; empty if none is close.

    >>> did_you_mean("symetric", ["symmetric", "uniform"])
    ' (did you mean symmetric?)'
    """
    by_letters = {choice.casefold(): choice for choice in choices}
    nearest = difflib.get_close_matches(word.casefold(), by_letters, n=1)
    return f" (did you mean {by_letters[nearest[0]]}?)" if nearest else ""


def _unknown_key(entry: Entry, key: str) -> str:
    if not entry.parameters:
        return f"{entry.kind} {entry.name} takes no parameters; leave out {key!r}"
    return (
        f"{entry.kind} {entry.name} has no parameter {key!r}{did_you_mean(key, entry.parameters)}; "
        f"it takes: {', '.join(entry.parameters)}"
    )


def _parameters_of(function: Callable[..., Any]) -> Iterator[Parameter]:
    signature = inspect.signature(function).parameters.values()
    own = [parameter for parameter in signature if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    # Look nothing up if there are no parameters: other annotations may name types from libraries not imported yet.
    hints = typing.get_type_hints(function, include_extras=True) if own else {}
    for parameter in own:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", parameter.name):
            raise RuntimeError(f"{function.__name__}: {parameter.name} cannot be a key of a spec")
        hint: Any = hints[parameter.name]
        extras: list[Any] = []
        if typing.get_origin(hint) is typing.Annotated:
            hint, *extras = typing.get_args(hint)
        choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
        range = next((extra for extra in extras if isinstance(extra, Between)), None)
        file = next((extra for extra in extras if isinstance(extra, FilePath)), None)
        yield Parameter(parameter.name, str if choices else hint, parameter.default, choices, range, file)
