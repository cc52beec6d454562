"""Sentences that state results, made from the numbers of a comparison; each is left out where it does not apply."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from flowernoise.catalogue.metrics import facts_of
from flowernoise.show import compared
from flowernoise.store.records import CONTROL, Comparison, Condition, Rate, RateInterval, Row, Tolerated
from flowernoise.store.setups import Setup

_MAX_NAMES = 4  # named one by one; the rest is counted


def question(result: Comparison) -> str:
    """What was asked."""
    noises = [noise for noise, _ in result.conditions if noise != CONTROL]
    words = compared.words(result)
    if not noises and words.training_is_doubted:
        return f"How well does each loss classify the test {words.things}, by their {words.of_test}?"
    if not noises:
        return (
            "How well does each loss classify clean test photos when no training label is wrong?"
            if words.are_clean
            else f"How well does each loss classify the test {words.things}, by their labels as given, when no wrong "
            "labels are added to the training labels?"
        )
    if facts_of(result.metric).of == "training" or result.better == "lower":
        return (
            f"What do {words.wrong} training labels do to a classifier's {metric_name(result)}, and does any loss do "
            f"better than {result.baseline}?"
        )
    photos, cause = "clean test photos", "some of its training labels are wrong"
    if not words.are_clean:
        photos, cause = f"test {words.things} with {words.of_test}", "wrong labels are added to its training labels"
    if words.training_is_doubted:
        cause = "some of its training labels are changed"
    return (
        f"How much {facts_of(result.metric).title} on {photos} does a classifier lose when {cause}, and does any loss "
        f"lose less than {result.baseline}?"
    )


def answer(result: Comparison) -> str:
    """What the table comes to, in a sentence or two: how the baseline falls, and whether any loss differs from it."""
    fall = list(_fall(result))[:1] if len(result.datasets) == 1 else []
    return " ".join([*fall, against_baseline(result)[0]])


def headlines(result: Comparison) -> list[str]:
    """What it comes to, in as few sentences as that takes."""
    return [*_fall(result), against_baseline(result)[0], *tolerances(result)[:3], *_warning(result)]


def best(result: Comparison) -> list[str]:
    """For each noise: which loss is best, and over which of the others its lead may be chance."""
    sayable = {(row.condition, row.setup) for row in result.rows if row.mean is not None or row.failed}
    setups = dict.fromkeys(column.setup for column in result.columns)
    return [
        _best(result, condition, setup)
        for condition in result.conditions
        for setup in setups
        if (condition, setup) in sayable
    ]


def _best(result: Comparison, condition: Condition, setup: Setup) -> str:
    own = [row for row in result.rows if (row.condition, row.setup) == (condition, setup) and row.mean is not None]
    rows = [row for row in own if not row.oracle]
    where, measure = _under(result, condition), metric_name(result)
    leading = [row for row in rows if row.best]
    if not rows and own:
        return f"{where}, every loss is given the true transition matrix, so none is called best."
    if not rows:
        return f"{where}, every run failed."
    if len(rows) == 1:
        return f"{where}, {loss_name(result, rows[0])} is the only loss: its {measure} is {_value(result, rows[0])}."
    if not leading:
        return f"{where}, every loss collapsed or failed in some run, so none is called best."
    names = joined([loss_name(result, row) for row in leading])
    verb = "has" if len(leading) == 1 else "share"
    extreme = "highest" if result.better == "higher" else "lowest"
    return f"{where}, {names} {verb} the {extreme} {measure}, {_value(result, leading[0])}; {_others(result, rows)}."


def _others(result: Comparison, rows: Sequence[Row]) -> str:
    others = [row for row in rows if not row.best]
    tied = [loss_name(result, row) for row in others if row.tied]
    if not others:
        return "no other loss was compared"
    if not _tested(result):
        return "the differences from the others were not tested"
    if not tied:
        return "every other loss is significantly worse, or collapsed or failed"
    names = joined(tied) if len(tied) <= _MAX_NAMES else f"{len(tied)} of the {len(others)} others"
    lead = "its lead" if len(others) == len(rows) - 1 else "their lead"
    return f"{lead} over {names} may be chance"


def _tested(result: Comparison) -> bool:
    return any(row.difference or row.tied for row in result.rows)


def against_baseline(result: Comparison) -> list[str]:
    """Significant differences from the baseline; the first sentence says whether there are any."""
    baseline, losses = result.baseline, {row.loss for row in result.rows}
    if baseline not in losses:
        return [f"No run here uses the baseline {baseline}, so nothing shows what another loss gains."]
    tested = [row for row in result.rows if row.difference]
    if not tested and losses != {baseline}:
        return [f"The differences from {baseline} in {metric_name(result)} were not tested; compare the intervals."]
    if not tested:
        return [f"{baseline} is the only loss here, so there is nothing to compare it with."]
    found = significant(result)
    better, worse = ([row for row in found if _verdict(row) == word] for word in ("better", "worse"))
    tests, correction = f"{len(tested)} {'test' if len(tested) == 1 else 'tests'}", "Holm's correction, 5 % level"
    if not found:
        chance = "the difference may be chance" if len(tested) == 1 else "every difference may be chance"
        return [f"No loss differs significantly from {baseline}: {chance} ({tests}, {correction})."]
    counted = [_counted(result, rows, word) for rows, word in ((better, "better"), (worse, "worse"))]
    return [
        f"Compared with {baseline}, {', and '.join(counted)} ({tests}, {correction}).",
        *(_difference(result, row) for row in found),
    ]


def _counted(result: Comparison, rows: Sequence[Row], word: str) -> str:
    names = joined(few(list(dict.fromkeys(loss_name(result, row) for row in rows))))
    if not rows:
        return f"no loss is significantly {word}"
    verb = "is" if len({row.column for row in rows}) == 1 else "are"
    return f"{names} {verb} significantly {word} in {len(rows)} {'test' if len(rows) == 1 else 'tests'}"


def significant(result: Comparison) -> list[Row]:
    """The rows that differ significantly from the baseline, better ones first."""
    return [row for word in ("better", "worse") for row in result.rows if _verdict(row) == word]


def difference(result: Comparison, row: Row) -> tuple[str, str, str, str]:
    """The difference from the baseline of a row that was tested, its interval, p and the verdict."""
    found = row.difference
    assert found is not None
    interval = ""
    if found.low is not None and found.high is not None:
        interval = f"{_signed(result, found.low)} to {_signed(result, found.high)}"
    return _signed(result, found.mean), interval, p_value(found.p_holm), found.verdict or ""


def _difference(result: Comparison, row: Row) -> str:
    by, interval, p, verdict = difference(result, row)
    unit = " points" if result.unit == "share" else ""
    sure = f"95 % interval {interval}, {p}" if interval else p
    return (
        f"{_under(result, row.condition)}, {loss_name(result, row)} is {verdict} than {result.baseline}: {by}{unit} "
        f"({sure})."
    )


def tolerances(result: Comparison) -> list[str]:
    """Which loss is estimated to tolerate the most of each noise model, and whether others may tolerate as much."""
    by_noise: dict[str, list[Tolerated]] = {}
    for line in result.tolerated:
        if line.tolerance:
            by_noise.setdefault(line.noise, []).append(line)
    return [_tolerance(result, noise, lines) for noise, lines in by_noise.items()]


def _tolerance(result: Comparison, noise: str, lines: Sequence[Tolerated]) -> str:
    oracles = {row.column for row in result.rows if row.oracle}
    sound = [line for line in lines if not line.collapsed and line.tolerance and line.column not in oracles]
    known = [line for line in sound if line.tolerance and line.tolerance.point.censoring in ("exact", "at_least")]
    limit = f"within {100 * result.delta:g} points of {result.baseline}'s control"
    where = f"Under {noise} noise"
    if not sound:
        return f"{where}, every loss collapsed at a rate that it seemed to tolerate, so none is called tolerant."
    if not known:
        return f"{where}, no loss stays {limit} at any rate that was tried."
    most = max(_height(line) for line in known)
    leading = [line for line in known if _height(line) == most]
    estimate = leading[0].tolerance
    assert estimate is not None  # of those that are known
    names = joined(few([loss_name(result, line) for line in leading]))
    reach = "at every rate tried, up to" if estimate.point.censoring == "at_least" else "up to an estimated"
    most_wrong = f"{100 * most:.1f} % {compared.words(result).wrong} labels{_interval(estimate)}"
    found = f"{where}, {metric_name(result)} with {names} stays {limit} {reach} {most_wrong}."
    return " ".join([found, *_rivals(result, leading, sound)])


def _rivals(result: Comparison, leading: Sequence[Tolerated], lines: Sequence[Tolerated]) -> Iterator[str]:
    """Whether the highest estimate means anything: which others may tolerate as much."""
    others = [line for line in lines if line not in leading]
    overlapping = [line for line in others if any(_overlap(line, lead) for lead in leading)]
    if overlapping:
        names = joined(few([loss_name(result, line) for line in overlapping]))
        yield f"That is the highest estimate, but {names} may tolerate as much: the intervals overlap."
    elif others:
        yield "Its interval lies above those of all other losses."


def _overlap(one: Tolerated, other: Tolerated) -> bool:
    (low, high), (least, most) = _ends(one), _ends(other)
    return low <= most and least <= high


def _ends(line: Tolerated) -> tuple[float, float]:
    """The ends of an interval as numbers; −1 means that the control itself is too low."""
    estimate = line.tolerance
    assert estimate is not None  # of those that are known
    low, high = (-1.0 if each.rate is None else each.rate for each in (estimate.low, estimate.high))
    return (
        0.0 if estimate.low.censoring == "below" else low,
        math.inf if estimate.high.censoring == "at_least" else high,
    )


def _height(line: Tolerated) -> float:
    return line.tolerance.point.rate or 0.0 if line.tolerance else 0.0


def _interval(estimate: RateInterval) -> str:
    if estimate.low == estimate.high:
        return ""
    return f" (95 % interval: {_bound(estimate.low)} to {_bound(estimate.high)})"


def _bound(bound: Rate) -> str:
    if bound.rate is None:
        return "0 %"
    words = {"below": "less than ", "at_least": "more than "}.get(bound.censoring, "")
    return f"{words}{100 * bound.rate:.1f} %"


def _fall(result: Comparison) -> Iterator[str]:
    """How the baseline falls from its control to the most noise there is, for each of its columns."""
    words = compared.words(result)
    for column in result.columns:
        own = {row.condition: row for row in result.rows if row.column == column and row.mean is not None}
        noisy = [row for row in own.values() if row.noise != CONTROL]
        control = own.get(Condition(CONTROL, 0.0))
        if column.loss != result.baseline or control is None or not noisy:
            continue
        last = max(noisy, key=lambda row: row.realised_rate)
        yield (
            f"With {loss_name(result, last)}, {metric_name(result)} {_moves(result, control, last)} with "
            f"{100 * last.realised_rate:.1f} % {words.wrong} labels ({condition_name(last.condition)})."
        )


def _moves(result: Comparison, control: Row, last: Row) -> str:
    before, after = _value(result, control), _value(result, last)
    labels = compared.words(result).labels
    if before == after:
        return f"is {before} with {labels} and still {after}"
    verb = "falls" if (last.mean or 0.0) < (control.mean or 0.0) else "rises"
    return f"{verb} from {before} with {labels} to {after}"


def _warning(result: Comparison) -> Iterator[str]:
    collapsed = sum(row.collapsed for row in result.rows)
    if collapsed:
        yield (
            f"{collapsed} {'run' if collapsed == 1 else 'runs'} collapsed: some class is never predicted. "
            "Read “What not to conclude” first."
        )


def metric_name(result: Comparison) -> str:
    """The metric as people write it: ``balanced accuracy``, ``recall of roses``."""
    facts = facts_of(result.metric)
    if facts.of == "training":
        return f"share of {compared.words(result).wrong} labels {facts.title}"
    return facts.title + compared.against(result)


def loss_name(result: Comparison, of: Row | Tolerated) -> str:
    """The loss of a row, with as much of its backbone, mode, directory and settings as tells it from others."""
    return compared.column_name(of.column, compared.telling(result.columns))


def p_value(p: float) -> str:
    """``p = 0.012``, or a bound."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def joined(names: Sequence[str]) -> str:
    """``a, b and c``."""
    *most, last = names or [""]
    return f"{', '.join(most)} and {last}" if most else last


def few(names: Sequence[str]) -> list[str]:
    """The first names, and how many more there are."""
    if len(names) <= _MAX_NAMES:
        return list(names)
    return [*names[: _MAX_NAMES - 1], f"{len(names) - _MAX_NAMES + 1} more"]


def condition_name(condition: Condition) -> str:
    """A noise model and its nominal rate."""
    return "the control" if condition.noise == CONTROL else f"{condition.noise} {condition.rate:g}"


def _under(result: Comparison, condition: Condition) -> str:
    if condition.noise == CONTROL:
        return f"With {compared.words(result).labels}"
    wrong = compared.wrong_labels([row for row in result.rows if row.condition == condition])
    return f"Under {condition_name(condition)} ({wrong} {compared.words(result).wrong} labels)"


def _value(result: Comparison, row: Row) -> str:
    assert row.mean is not None  # of those that have one
    return f"{compared.number(row.mean, result.unit)}{' %' if result.unit == 'share' else ''}"


def _signed(result: Comparison, value: float) -> str:
    text = f"{100 * value:+.1f}" if result.unit == "share" else f"{value:+.3f}"
    return text.replace("-", "−")


def _verdict(row: Row) -> str | None:
    return row.difference.verdict if row.difference else None
