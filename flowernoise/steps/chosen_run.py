"""Finds the one run that options pick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flowernoise.analysis import where
from flowernoise.errors import BadRequestError
from flowernoise.registry import format_value
from flowernoise.steps.settings import ExportSettings
from flowernoise.store.handles import RunHandle
from flowernoise.store.records import CONTROL
from flowernoise.store.setups import SETTINGS, setting

_OPTIONS = ("loss", "noise", "rate", "seed")  # other keys are for --where
_MAX_VALUES = 6  # of a key, listed


def choose(runs: Sequence[RunHandle], settings: ExportSettings) -> RunHandle:
    """The run that options pick: a control unless they name a noise, with the settings that ``compare`` would show.

    Raises:
        BadRequestError: they pick no run, or several, and the message says how these differ; or training failed.
    """
    trained = {run.key.identity: run.block.recency for run in runs}
    [picked] = where.shown(_wheres(settings), [trained])
    left = [run for run in runs if run.key.identity in picked]
    if settings.seed is not None:
        seeds = sorted({run.seed for run in left})
        left = [run for run in left if run.seed == settings.seed]
        if not left:
            raise BadRequestError(f"--seed {settings.seed}: no matching run; there are: {_listed(map(str, seeds))}")
    if len(left) > 1:
        raise BadRequestError(_ambiguous(left))
    [run] = left
    if run.failure is not None:
        raise BadRequestError(f"training of {run.loss} on {run.run.draw} failed: {run.failure}")
    return run


def _wheres(settings: ExportSettings) -> list[str]:
    """Each ``--where``, combined with the other options."""
    rate = None if settings.rate is None else format_value(settings.rate)
    given: Mapping[str, str | None] = {"loss": settings.loss, "noise": settings.noise, "rate": rate}
    options = [f"{key}={value}" for key, value in given.items() if value is not None]
    texts = []
    for text in settings.where or ("",):
        keys = {pair.key for pair in where.parse(text, noises=None).pairs} if text else set()
        named = settings.noise is not None or "noise" in keys
        texts.append(",".join(filter(None, (text, *options, "" if named else f"noise={CONTROL}"))))
    return texts


def _ambiguous(runs: Sequence[RunHandle]) -> str:
    """Says how runs differ, and which options would pick one."""
    differing = {}
    for key in ("loss", "noise", "rate", "seed", "backbone", "mode", *SETTINGS, "weights", "decoding"):
        values = list(dict.fromkeys(_value(run, key) for run in runs))
        if len(values) > 1:
            differing[key] = values
    told = " and ".join(f"{key} ({_listed(values)})" for key, values in differing.items())
    options = [f"--{key}" for key in differing if key in _OPTIONS]
    if not differing.keys() <= set(_OPTIONS):
        options.append("--where")
    return f"{len(runs):,} runs fit, which differ in {told}; choose one with {' and '.join(options)}"


def _value(run: RunHandle, key: str) -> str:
    if key in _OPTIONS:
        return format_value(getattr(run, key))
    return setting(key, run.block.setup)


def _listed(values: Iterable[str]) -> str:
    every = list(values)
    more = f" and {len(every) - _MAX_VALUES} more" if len(every) > _MAX_VALUES else ""
    return ", ".join(every[:_MAX_VALUES]) + more
