"""``--where``: picks the runs to show, compare or remove."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import noise_models, shown_names, specs_called
from flowernoise.errors import BadRequestError
from flowernoise.registry import READERS, Registry, did_you_mean, format_value
from flowernoise.store.records import CONTROL, Identity
from flowernoise.store.setups import SETTINGS, Setup, keys_of, setting

OPTION = "--where"
KEYS = ("noise", "rate", "loss", "backbone", "mode", *SETTINGS)
_SPECS: Mapping[str, Registry] = {"noise": noise_models, "loss": losses, "backbone": backbones}
_PLUS = re.compile(r"(?<![eE])\+")  # but not the + of 1e+16
_MAX_VALUES = 12  # values of a key listed if none matches
Admits = Callable[[Identity], bool]


@dataclasses.dataclass(frozen=True)
class Pair:
    """One ``key=value``."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


@dataclasses.dataclass(frozen=True)
class Where:
    """Pairs that must all match."""

    pairs: tuple[Pair, ...]

    @property
    def names_settings(self) -> bool:
        """Whether it mentions training settings."""
        return any(pair.key in SETTINGS for pair in self.pairs)

    def __str__(self) -> str:
        return ",".join(map(str, self.pairs))


def parse(text: str, noises: Collection[str] | None = ()) -> Where:
    """Reads ``key=value,key=value``; a key that is not in :data:`KEYS` belongs to the spec before it.

    Args:
        text: the value of ``--where``.
        noises: the noise models there are, which can be picked by the names that tables call them; None if they are
            not known yet, so that any name may be one.

    Raises:
        BadRequestError: an unknown key, a pair without a value, a key given twice, or an impossible value.

    >>> str(parse("loss=sce:alpha=0.5,beta=2,epochs=3").pairs[0])
    'loss=sce:alpha=0.5,beta=2'
    """
    pairs: list[Pair] = []
    for piece in text.split(","):
        key, equals, value = (part.strip() for part in piece.partition("="))
        if key in KEYS and equals and value:
            pairs.append(Pair(key, value))
        elif pairs and pairs[-1].key in _SPECS and ":" in pairs[-1].value and re.fullmatch(r"\w+", key) and equals:
            pairs[-1] = Pair(pairs[-1].key, f"{pairs[-1].value},{piece.strip()}")
        elif not (equals and value):
            raise BadRequestError(f"{OPTION} {text!r}: {piece.strip()!r} is not of the form key=value")
        else:
            raise BadRequestError(
                f"{OPTION} {text!r}: unknown key {key!r}{did_you_mean(key, KEYS)}; the keys are: {', '.join(KEYS)}"
            )
    keys = [pair.key for pair in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise BadRequestError(f"{OPTION} {text!r}: {twice[0]} is given twice; repeat {OPTION} to take either")
    return Where(tuple(Pair(pair.key, _canonical(pair, noises)) for pair in pairs))


def _canonical(pair: Pair, noises: Collection[str] | None) -> str:
    """The value in canonical form, for comparing.

    Raises:
        BadRequestError: an unknown name, or text where a number is required.
    """
    key, value = pair.key, pair.value
    if key == "noise" and value in (CONTROL, "control"):
        return CONTROL
    if key == "noise" and _may_be_called(value, noises):
        return value
    if key == "noise" and noises and ":" not in value and value not in noise_models.names():
        there = set(shown_names(noises).values())
        raise BadRequestError(f"{OPTION}: no run has {pair}{did_you_mean(value, there)}; there are: {_listed(there)}")
    if key in _SPECS:
        # A name alone stays as it is: it means all specs of that name.
        return str(_SPECS[key].parse(value)) if ":" in value else _SPECS[key][value].name
    if key in ("image_size", "epochs", "batch_size"):
        return _number(pair, int, value)
    if key == "rate":
        return f"{float(_number(pair, float, value)):g}"
    if key in ("weight_decay", "ema"):
        return _number(pair, float, value)
    if key in ("learning_rate", "l2"):
        return "+".join(sorted({_number(pair, float, part) for part in _PLUS.split(value)}, key=float))
    return value


def _may_be_called(name: str, noises: Collection[str] | None) -> bool:
    return name not in noise_models.names() and ":" not in name if noises is None else bool(specs_called(name, noises))


def _number(pair: Pair, kind: type, text: str) -> str:
    try:
        value = READERS[kind](text.strip())
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        more = ", or several with + between them" if pair.key in ("learning_rate", "l2") else ""
        raise BadRequestError(f"{OPTION} {pair}: {text.strip()!r} is not {noun}{more}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequestError(f"{OPTION} {pair}: {text.strip()!r} is not a finite number")
    return format_value(value)


def value_of(key: str, identity: Identity) -> str:
    """An identity's value for a key, as written in ``--where``."""
    if key == "noise":
        return identity.noise
    if key == "rate":
        return f"{identity.rate:g}"  # as shown in tables
    if key == "loss":
        return identity.method
    return setting(key, identity.setup)


def of_setup(setup: Setup) -> str:
    """The ``--where`` that picks a setup."""
    return ",".join(f"{key}={setting(key, setup)}" for key in ("backbone", "mode", *keys_of(setup)))


def admitting(where: Where, available: Iterable[Identity]) -> Admits:
    """A test whether an identity is picked.

    Raises:
        BadRequestError: it would pick none of those available; the message lists what there is.
    """
    there = set(available)
    meant: list[tuple[str, set[str]]] = []
    for pair in where.pairs:
        values = {value_of(pair.key, identity) for identity in there}
        # A name means all specs of that name, unless the name alone is one of them.
        named = {value for value in values if pair.key in _SPECS and value.partition(":")[0] == pair.value}
        called = specs_called(pair.value, values) if pair.key == "noise" else set()
        fitting = {pair.value} & values or called | named
        if not fitting:
            raise BadRequestError(f"{OPTION} {where}: no run has {pair}; there are: {_listed(values)}")
        meant.append((pair.key, fitting))

    def admits(identity: Identity) -> bool:
        return all(value_of(key, identity) in values for key, values in meant)

    if not any(map(admits, there)):
        raise BadRequestError(f"{OPTION} {where}: each of these occurs, but no run has all of them together")
    return admits


def _listed(values: Iterable[str]) -> str:
    ordered = sorted(values)
    more = f" and {len(ordered) - _MAX_VALUES} more" if len(ordered) > _MAX_VALUES else ""
    return ", ".join(ordered[:_MAX_VALUES]) + more


def matching(texts: Sequence[str], trained: Iterable[Identity]) -> set[Identity]:
    """The identities that any ``--where`` picks.

    Raises:
        BadRequestError: a ``--where`` is invalid, or picks nothing.
    """
    there = set(trained)
    tests = [admitting(parse(text, _noises(there)), there) for text in texts]
    return {identity for identity in there if any(test(identity) for test in tests)}


def shown(texts: Sequence[str], trained: Sequence[Mapping[Identity, int]]) -> list[set[Identity]]:
    """The runs to show: for each method, backbone and mode, the setup trained last, or whatever any ``--where`` picks.

    A ``--where`` that names a setting picks among all setups; otherwise it picks among those trained last. If these
    lack something (for example, after an interrupted training), it takes the most recent setup that has it.

    Args:
        texts: the values of ``--where``.
        trained: for each directory, every identity with its recency.

    Raises:
        BadRequestError: a ``--where`` is invalid, or picks nothing in any directory.
    """
    latest = [_latest(each) for each in trained]
    if not texts:
        return latest
    picked: list[set[Identity]] = [set() for _ in trained]
    there = {identity for each in trained for identity in each}
    for text in texts:
        where = parse(text, _noises(there))
        admits = admitting(where, there)
        for own, each, last in zip(picked, trained, latest, strict=True):
            fitting = {identity: recency for identity, recency in each.items() if admits(identity)}
            own.update(fitting if where.names_settings else fitting.keys() & last or _latest(fitting))
    return picked


def with_baseline(picked: set[Identity], there: Collection[Identity], baseline: str) -> set[Identity]:
    """The picked identities, and the baseline of each of their setups."""
    return picked | {own for each in picked if (own := each._replace(method=baseline)) in there}


def _noises(there: Iterable[Identity]) -> set[str]:
    return {identity.noise for identity in there}


def _latest(trained: Mapping[Identity, int]) -> set[Identity]:
    last: dict[tuple[str, str, str], tuple[int, Setup]] = {}
    for identity, recency in trained.items():
        kind = _kind(identity)
        last[kind] = max(last.get(kind, (recency, identity.setup)), (recency, identity.setup))
    return {identity for identity in trained if last[_kind(identity)][1] == identity.setup}


def _kind(identity: Identity) -> tuple[str, str, str]:
    return identity.method, identity.setup.backbone, identity.setup.mode
