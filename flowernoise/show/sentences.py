"""Sentences that state results, made from the numbers of a comparison; none stands where it does not apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowernoise.catalogue.metrics import facts_of
from flowernoise.show import compared
from flowernoise.store.records import CONTROL, Comparison, Condition, Rate, RateInterval, Row, Tolerated
from flowernoise.store.setups import Setup

_MAX_NAMES = 4  # in a row before the rest is counted


def question(result: Comparison) -> str:
    """What was asked."""
    noises = [noise for noise, _ in result.conditions if noise != CONTROL]
    words = compared.words(result)
    if not noises:
        return (
            "How well do the losses classify clean test photos when no label is wrong?"
            if words.are_clean
            else "How well do the losses classify the test photos, by labels as given, when no wrong ones are added?"
        )
    if facts_of(result.metric).of == "training" or result.better == "lower":
        return (
            f"What do {words.wrong} training labels do to a classifier's {metric_name(result)}, and does another loss "
            f"than {result.baseline} fare better?"
        )
    photos, share = "clean test photos", "a share of its training labels is wrong"
    if not words.are_clean:
        photos, share = f"test photos with {words.labels}", "wrong ones are added to its training labels"
    return (
        f"How much {metric_name(result)} on {photos} does a classifier lose when {share}, and does another loss than "
        f"{result.baseline} lose less?"
    )


def headlines(result: Comparison) -> list[str]:
    """What it comes to, in as few sentences as that takes."""
    return [*_fall(result), against_baseline(result)[0], *_most_tolerant(result), *_warning(result)]


def best(result: Comparison) -> list[str]:
    """Under each noise: which loss is best, and which are not significantly worse."""
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
        return f"{where}, all runs failed."
    if len(rows) == 1:
        return f"{where}, {loss_name(result, rows[0])}, the only loss, has {_value(result, rows[0])} {measure}."
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
        return "there is no other"
    if not _tested(result):
        return "whether others are worse by more than chance was not tested"
    if not tied:
        return "all others are significantly worse, or collapsed or failed"
    if len(tied) > _MAX_NAMES:
        return f"{len(tied)} of {len(others)} others are not significantly worse"
    return f"{joined(tied)} {'is' if len(tied) == 1 else 'are'} not significantly worse"


def _tested(result: Comparison) -> bool:
    return any(row.difference or row.tied for row in result.rows)


def against_baseline(result: Comparison) -> list[str]:
    """What differs significantly from the baseline; the first sentence says whether anything does."""
    baseline, losses = result.baseline, {row.loss for row in result.rows}
    if baseline not in losses:
        return [f"There are no runs with the baseline {baseline}, so nothing here shows what a loss gains."]
    tested = [row for row in result.rows if row.difference]
    if not tested and losses != {baseline}:
        return [f"No difference from {baseline} in {metric_name(result)} was tested: read the intervals."]
    if not tested:
        return [f"Nothing was compared with {baseline}: there are no other losses."]
    found = significant(result)
    better, worse = ([row for row in found if _verdict(row) == word] for word in ("better", "worse"))
    tests = f"{len(tested)} {'test' if len(tested) == 1 else 'tests'}, Holm's correction, 5 %"
    if not found:
        return [f"No loss differs significantly from {baseline} under any noise ({tests})."]
    counted = [_counted(result, rows, word) for rows, word in ((better, "better"), (worse, "worse"))]
    return [
        f"Against {baseline}, {'; '.join(counted)} ({tests}).",
        *(_difference(result, row) for row in found),
    ]


def _counted(result: Comparison, rows: Sequence[Row], word: str) -> str:
    names = joined(few(list(dict.fromkeys(loss_name(result, row) for row in rows))))
    if not rows:
        return f"no loss is significantly {word}"
    verb = "is" if len({row.column for row in rows}) == 1 else "are"
    return f"{names} {verb} significantly {word} in {len(rows)} {'comparison' if len(rows) == 1 else 'comparisons'}"


def significant(result: Comparison) -> list[Row]:
    """What differs significantly from the baseline, the better first."""
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
    brackets = f" [{interval}]" if interval else ""
    return (
        f"{_under(result, row.condition)}, {loss_name(result, row)} differs from {result.baseline} by {by}{unit}"
        f"{brackets}: {verdict}, {p}."
    )


def tolerances(result: Comparison) -> list[str]:
    """What the most tolerant loss stands of each noise model, and whether that is told apart from the baseline."""
    by_noise: dict[str, list[Tolerated]] = {}
    for line in result.tolerated:
        if line.tolerance:
            by_noise.setdefault(line.noise, []).append(line)
    return [sentence for noise, lines in by_noise.items() if (sentence := _tolerance(result, noise, lines))]


def _tolerance(result: Comparison, noise: str, lines: Sequence[Tolerated]) -> str:
    oracles = {row.column for row in result.rows if row.oracle}
    sound = [line for line in lines if not line.collapsed and line.tolerance and line.column not in oracles]
    known = [line for line in sound if line.tolerance and line.tolerance.point.censoring in ("exact", "at_least")]
    limit = f"within {100 * result.delta:g} points of {result.baseline}'s control"
    if not sound:
        return f"{noise}: every loss collapsed at some tolerated rate, so none is called tolerant."
    if not known:
        return f"{noise}: no loss stays {limit} at any rate that was tried."
    most = max(_height(line) for line in known)
    leading = [line for line in known if _height(line) == most]
    names = joined(few([loss_name(result, line) for line in leading]))
    plural = len(leading) > 1
    estimate = leading[0].tolerance
    assert estimate is not None  # of those that are known
    if estimate.point.censoring == "at_least":
        verb = "stay" if plural else "stays"
        return f"{noise}: {names} {verb} {limit} up to the highest rate tried, {rate(estimate)}."
    most_wrong = f"the most {compared.words(result).wrong} labels"
    return f"{noise}: {names} {'stand' if plural else 'stands'} {most_wrong} {limit}, {rate(estimate)}."


def _height(line: Tolerated) -> float:
    return line.tolerance.point.rate or 0.0 if line.tolerance else 0.0


def rate(estimate: RateInterval) -> str:
    """A tolerated rate with its interval, in words."""
    point = estimate.point
    if point.censoring == "none":
        return "none: its own control is further below already"
    words = {"below": "less than ", "at_least": "at least "}.get(point.censoring, "")
    text = f"{words}{100 * (point.rate or 0.0):.1f} %"
    if estimate.low == estimate.high:
        return text
    return f"{text} (95 % interval {_bound(estimate.low)} to {_bound(estimate.high)})"


def _bound(bound: Rate) -> str:
    if bound.rate is None:
        return "none"
    return f"{ {'below': '<', 'at_least': '≥'}.get(bound.censoring, '') }{100 * bound.rate:.1f} %"


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
            f"With {loss_name(result, last)}, {metric_name(result)} goes from {_value(result, control)} on "
            f"{words.labels} to {_value(result, last)} with {100 * last.realised_rate:.1f} % {words.wrong} ones "
            f"({condition_name(last.condition)})."
        )


def _most_tolerant(result: Comparison) -> list[str]:
    return tolerances(result)[:3]


def _warning(result: Comparison) -> Iterator[str]:
    collapsed = sum(row.collapsed for row in result.rows)
    if collapsed:
        yield f"{collapsed} {'run has' if collapsed == 1 else 'runs have'} collapsed; see what not to conclude."


def metric_name(result: Comparison) -> str:
    """The metric as people write it: ``balanced accuracy``, ``recall of roses``."""
    facts = facts_of(result.metric)
    return f"share of {compared.words(result).wrong} labels {facts.title}" if facts.of == "training" else facts.title


def loss_name(result: Comparison, of: Row | Tolerated) -> str:
    """The loss of a row, with backbone, mode and directory where they differ."""
    return compared.column_name(of.column, compared.varying(result.columns))


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
        return f"On {compared.words(result).labels}"
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
