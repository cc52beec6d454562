"""A command's options, declared once: the fields of its settings define them, for the terminal and for Python.

>>> @dataclasses.dataclass(frozen=True)
... class Cake(Settings):
...     layers: Annotated[int, Between(1, 9), Option("How many layers.", metavar="N")] = 3
>>> made(Cake, given((Cake,), {"layers": "4"}))
Cake(layers=4)
>>> Cake(layers=12).check()
Traceback (most recent call last):
flowernoise.errors.BadRequestError: --layers 12 must be at least 1 and at most 9
>>> fields_of(Cake)[0].full_help()
'How many layers.  [default: 3]'
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from flowernoise.errors import BadRequestError
from flowernoise.registry import Between, Registry, did_you_mean, format_value, read, refuse
from flowernoise.safe import toml

if TYPE_CHECKING:
    import typer
    from typer.core import TyperCommand, TyperGroup

MAX_NUMBERS = 1000  # in a list, such as the one for --rates
_NOT_IN_FILES = ("config", "debug")  # --debug is needed before any file is read
_TOML_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
_MAX_SHOWN = 60  # characters of a value
Given = dict[str, Any]
Kind = TypeVar("Kind", bound="Settings")


@dataclasses.dataclass(frozen=True)
class Option:
    """What an ``Annotated`` settings field says about its option, in addition to its type and :class:`Between`.

    Args:
        help: ``{names}`` stands for the names in ``registry``.
        names: as written on the command line; by default, derived from the field's name.
        default: how the help describes the default, if the value alone does not.
        argument: whether it is positional.
        choices: the allowed values; for a ``Literal``, its values.
        registry: returns the registry whose specs it accepts.
        check: raises a BadRequestError for a bad value, or a ValueError whose message is worded to follow the value.
    """

    help: str
    names: tuple[str, ...] = ()
    metavar: str | None = None
    default: str = ""
    envvar: str | None = None
    argument: bool = False
    choices: Collection[str] = ()
    registry: Callable[[], Registry] | None = None
    check: Callable[[Any], object] | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base class for the settings of a command."""

    def check(self) -> None:
        """Refuses bad values with a BadRequestError that names the option and what it accepts."""
        for field in fields_of(type(self)):
            field.check(getattr(self, field.name))
        self.check_together()

    def check_together(self) -> None:
        """Refuses combinations of values that do not work together."""


@dataclasses.dataclass(frozen=True)
class Field:
    """A field that is an option: ``type`` is the type of one value; ``many`` says whether the field holds a tuple."""

    name: str
    type: type
    many: bool
    default: Any
    option: Option
    choices: Collection[str] = ()
    range: Between | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The option as it is written."""
        return self.option.names or (f"--{self.name.strip('_').replace('_', '-')}",)

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name.upper() if self.option.argument else self.names[-1]

    @property
    def key(self) -> str:
        """What a file for ``--config`` calls it."""
        return self.name if self.option.argument else self.names[-1].lstrip("-")

    @property
    def metavar(self) -> str:
        """What the help shows for a value."""
        usual = {int: "N", float: "X[,X…]" if self.many else "X", str: "SPEC", Path: "FILE"}
        return self.option.metavar or (f"<{'|'.join(self.choices)}>" if self.choices else usual[self.type])

    @property
    def is_list(self) -> bool:
        """Whether values are separated by commas; other options with many values are repeated."""
        return self.many and self.type is float

    def read(self, given: Any) -> Any:
        """The value of what was given on the command line; refuses what cannot be read."""
        if self.type is bool:
            return given
        if self.is_list:
            return self._read_list(given)
        return tuple(self._read(text, self.label) for text in given) if self.many else self._read(given, self.label)

    def read_toml(self, value: Any) -> Any:
        """The value of an entry in a TOML file; a single value also stands for a list of one.

        Raises:
            BadRequestError: the value has the wrong type, or the field does not accept it.
        """
        if not self.many:
            found = self._read_toml(value)
        elif value == []:
            raise BadRequestError(f"{self.key} is an empty list; leave it out for the default")
        else:
            many = value if isinstance(value, list) else [value]
            if self.is_list:
                self._refuse_many(len(many), f"{self.key}")
            read = [self._read_toml(each) for each in many]
            found = tuple(dict.fromkeys(read) if self.is_list else read)
        self.check(found)
        return found

    def _read_toml(self, value: Any) -> Any:
        kind = str if self.type is Path else self.type
        fits = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
        if not fits or (kind is float and not _is_finite(value)):
            raise BadRequestError(f"{self.key} = {_shown(value)} is not {_TOML_WORDS[kind]}")
        if self.type is Path:
            return self._read(value, self.key)
        return kind(value)

    def _refuse_many(self, count: int, owner: str) -> None:
        if count > MAX_NUMBERS:
            raise BadRequestError(f"{owner}: {count:,} numbers are too many; at most {MAX_NUMBERS:,}")

    def _read_list(self, text: str) -> tuple[Any, ...]:
        """Reads ``0.1,0.3``; each number once, in the order given."""
        parts = text.split(",")
        self._refuse_many(len(parts), f"{self.label} {text[:40]}…")
        return tuple(dict.fromkeys(self._read(part.strip(), f"{self.label} {text!r}:") for part in parts))

    def _read(self, text: str, owner: str) -> Any:
        if self.type is Path:
            if not text:
                raise BadRequestError(f"{owner} '' is not a path")
            return Path(text)
        try:
            return read(self.type, text)
        except ValueError as error:
            raise BadRequestError(f"{owner} {text!r} {error}") from None

    def check(self, value: Any) -> None:
        """Refuses a value that the field does not accept."""
        if value is None:
            return
        for each in value if self.many else (value,):
            try:
                refuse(each, self.choices, self.range)
                if self.option.registry:
                    self.option.registry().parse(each)
                if self.option.check:
                    self.option.check(each)
            except BadRequestError:
                raise
            except ValueError as error:
                shown = format_value(each) if self.type in (int, float) else repr(str(each))
                raise BadRequestError(f"{self.label} {shown} {error}") from None

    def full_help(self) -> str:
        """The help with names and default filled in."""
        text = self.option.help
        if self.option.registry:
            text = text.replace("{names}", _names_in(self.option.registry()))
        default = self.option.default or self._shown_default()
        return f"{text}  [default: {default}]" if default else text

    def _shown_default(self) -> str:
        if self.default is None or self.type is bool:
            return ""
        return ",".join(map(format_value, self.default if self.many else (self.default,)))

    def parameter(self) -> inspect.Parameter:
        """The parameter that Typer turns into an option or argument; it passes text, which is read here."""
        import typer

        option, flag = self.option, self.type is bool
        shown: dict[str, Any] = {"help": option.help, "envvar": option.envvar, "show_default": False}
        shown["metavar"] = None if flag else self.metavar
        info = typer.Argument(**shown) if option.argument else typer.Option(*self.names, **shown)
        kind: Any = bool if flag else (list[str] if self.many and not self.is_list else str) | None
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=False if flag else None, annotation=Annotated[kind, info]
        )


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """A file with options that are not given on the command line; every command accepts it."""

    config: Annotated[
        Path | None,
        Option("TOML file with options, such as rates = [0.2, 0.4]; options on the command line win."),
    ] = None


def fields_of(kind: type[Settings]) -> tuple[Field, ...]:
    """The fields of settings that are options."""
    hints = typing.get_type_hints(kind, include_extras=True)
    annotated = [field for field in dataclasses.fields(kind) if typing.get_origin(hints[field.name]) is Annotated]
    return tuple(_field(field, *typing.get_args(hints[field.name])) for field in annotated)


def _field(field: dataclasses.Field[Any], hint: Any, *extras: Any) -> Field:
    """Reads the annotation of a field: its type and what comes with it."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):  # with None
        hint = typing.get_args(hint)[0]
    many = typing.get_origin(hint) is tuple
    if many:
        hint = typing.get_args(hint)[0]
    literals = typing.get_args(hint)
    option = next(extra for extra in extras if isinstance(extra, Option))
    range = next((extra for extra in extras if isinstance(extra, Between)), None)
    return Field(field.name, str if literals else hint, many, field.default, option, option.choices or literals, range)


def _names_in(registry: Registry) -> str:
    *most, last = (f"{entry.name}:{entry.unkeyed.upper()}" if entry.unkeyed else entry.name for entry in registry)
    return f"{', '.join(most)} or {last}"


def given(kinds: Collection[type[Settings]], values: Mapping[str, Any]) -> Given:
    """The values of the options that were given on the command line.

    Raises:
        BadRequestError: one of them cannot be read.
    """
    fields = [field for kind in kinds for field in fields_of(kind)]
    return {
        field.name: field.read(values[field.name])
        for field in fields
        if values.get(field.name) not in (None, False, [], ())
    }


def configured(fields: Iterable[Field], path: Path, command: str) -> Given:
    """The options in a TOML file: ``learning-rate = [1e-3]`` stands for ``--learning-rate 1e-3``.

    Raises:
        BadRequestError: the file cannot be read, a key is not an option, or an option does not accept its value.
    """
    known = {field.key: field for field in fields if field.name not in _NOT_IN_FILES}
    found: Given = {}
    for key, value in toml.read(path).items():
        if isinstance(value, dict):
            raise BadRequestError(
                f"{path}: [{key}] is a section; options are written without sections, as in epochs = 5"
            )
        if key not in known:
            raise BadRequestError(
                f"{path}: {key!r} is not an option of {command}{did_you_mean(key, known)}; "
                f"`flowernoise {command} --help` lists them all"
            )
        try:
            found[known[key].name] = known[key].read_toml(value)
        except BadRequestError as error:
            raise BadRequestError(f"{path}: {error}") from None
    return found


def as_toml(kinds: Collection[type[Settings]], given: Mapping[str, Any]) -> str:
    """Options as a TOML file that ``--config`` reads back, one line each; None is left out.

    >>> as_toml((Config,), {"config": Path("a")})
    'config = "a"\\n'
    """
    fields = [field for kind in kinds for field in fields_of(kind) if given.get(field.name) is not None]
    return "".join(f"{field.key} = {_toml(given[field.name])}\n" for field in fields)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (bool, int, float)):
        return format_value(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def _shown(value: Any) -> str:
    """A value from a TOML file, as messages show it."""
    text = _toml(value) if isinstance(value, (bool, str)) else str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def made(kind: type[Kind], given: Mapping[str, Any]) -> Kind:
    """Settings with the given values, checked; everything else keeps its default.

    Raises:
        BadRequestError: as :meth:`Settings.check`.
    """
    names = {field.name for field in dataclasses.fields(kind)}
    settings = kind(**{name: value for name, value in given.items() if name in names})
    settings.check()
    return settings


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    group: str,
    examples: tuple[str, str],
    without: Collection[str] = (),
    implied: Callable[[Given], Given] = lambda _: {},
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: turns a function whose arguments are settings into a command; their fields are its options.

    Args:
        group: the heading under which the program's help lists the command.
        examples: two commands that run, shown at the end of the command's help and on its page.
        without: fields that are not options of this command.
        implied: derives values from the given ones, for options that were not given.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        hints = typing.get_type_hints(function)
        kinds = {argument: kind for argument, kind in hints.items() if argument != "return"}
        every = (*kinds.values(), Config)
        fields = {f.name: f for kind in every for f in fields_of(kind) if f.name not in without}

        def run(**values: Any) -> None:
            found = given(every, values)
            if "config" in found:
                found = configured(fields.values(), found["config"], name or function.__name__) | found
            found = implied(found) | found
            function(**{argument: made(kind, found) for argument, kind in kinds.items()})

        parameters = [field.parameter() for field in fields.values()]
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name, cls=_with_full_help(fields, group, examples))(run)
        return function

    return register


def _with_full_help(fields: Mapping[str, Field], group: str, examples: tuple[str, str]) -> type[TyperCommand]:
    """A command whose help ends with examples. It asks registries for names only when shown, as that takes 0.1 s."""
    from typer.core import TyperCommand

    class Command(TyperCommand):
        settings, help_group, help_examples = fields, group, examples

        def format_help(self, ctx: Any, formatter: Any) -> None:
            parameters: list[Any] = self.params
            for parameter in parameters:
                parameter.help = fields[parameter.name].full_help()
            super().format_help(ctx, formatter)

        def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (Typer passes the context)
            with formatter.section("Examples"):
                for example in examples:  # not wrapped, so that they can be copied
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")

    return Command


def by_group(groups: tuple[str, ...]) -> type[TyperGroup]:
    """A group of commands whose help lists them under the headings of :func:`command`, in this order."""
    from typer.core import TyperGroup

    class Commands(TyperGroup):
        def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (Typer passes the context)
            every: dict[str, Any] = dict(self.commands)
            widest = max(map(len, every))
            for group in groups:
                rows = [
                    (f"{name:{widest}}", command.get_short_help_str(formatter.width - widest - 6))
                    for name, command in every.items()
                    if command.help_group == group
                ]
                with formatter.section(group):
                    formatter.write_dl(rows)

    return Commands
