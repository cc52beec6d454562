"""A gate on a comparison: which cell misses it, in the direction of the metric."""

from pathlib import Path

import pytest

from flowernoise.errors import BadRequestError
from flowernoise.steps.compare import CompareSettings, check_gate, missed
from flowernoise.steps.settings import GateSettings
from tests.analysis.comparison.test_comparison import Made, compared, write

RUNS = [
    *(Made("none", 0.0, "ce", right=95, seed=seed) for seed in (0, 1)),
    *(Made("symmetric", 0.4, "ce", right=80, seed=seed) for seed in (0, 1)),
    *(Made("symmetric", 0.4, "mae", right=90, seed=seed) for seed in (0, 1)),
]


def held(root: Path, where: str = "", runs: list[Made] | None = None, metric: str = "accuracy", **limits: float):
    settings = CompareSettings(metric=metric, where=(where,) if where else ())
    found = compared(write(root, RUNS if runs is None else runs), metric=metric, where=settings.where)
    check_gate(settings, GateSettings(**limits))
    return missed(found, settings, GateSettings(**limits))


def test_without_a_limit_nothing_is_missed(tmp_path: Path) -> None:
    assert held(tmp_path) is None


def test_the_mean_must_reach_the_limit(tmp_path: Path) -> None:
    assert held(tmp_path, fail_under=0.8) is None
    assert held(tmp_path, fail_under=0.801, where="loss=mae") is None  # though ce is shown beside it
    line = held(tmp_path, fail_under=0.81, where="noise=symmetric,rate=0.4,loss=ce")
    assert line is not None
    assert line.startswith("ce under symmetric at 0.4 has accuracy 0.8000 (95 % interval 0.")
    assert line.endswith(", which misses --fail-under 0.81")


def test_the_worst_of_several_is_named(tmp_path: Path) -> None:
    line = held(tmp_path, fail_under=0.92)
    assert line is not None
    assert line.startswith("ce under symmetric at 0.4 has ")
    assert line.endswith("; 2 of the 3 matching cells miss it")
    assert str(held(tmp_path, fail_under=0.96, where="noise=none")).startswith("the control of ce has accuracy 0.9500")


def test_the_interval_can_be_asked_for(tmp_path: Path) -> None:
    low = compared(write(tmp_path, RUNS)).rows[1].ci_low
    assert low is not None
    assert low < 0.8
    assert held(tmp_path, where="noise=symmetric,loss=ce", fail_under_low=low) is None
    assert "--fail-under-low" in str(
        held(tmp_path, where="noise=symmetric,loss=ce", fail_under=0.8, fail_under_low=0.8)
    )


def test_lower_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    runs = [Made("symmetric", 0.4, "ce", 80, seed=seed, memorised=0.2 + seed / 10) for seed in (0, 1)]
    assert held(tmp_path, runs=runs, metric="memorised", fail_under=0.25) is None
    assert "memorised 0.2500" in str(held(tmp_path, runs=runs, metric="memorised", fail_under=0.24))
    assert held(tmp_path, runs=runs, metric="memorised", fail_under_low=1) is None
    assert "--fail-under-low 0.26" in str(held(tmp_path, runs=runs, metric="memorised", fail_under_low=0.26))


def test_a_cell_whose_runs_all_failed_misses_every_gate(tmp_path: Path) -> None:
    runs = [*RUNS, Made("symmetric", 0.4, "gce", 0, failure="loss is nan")]
    assert held(tmp_path, runs=runs, fail_under=0) == (
        "gce under symmetric at 0.4 has no accuracy, as its runs failed, which misses --fail-under 0; "
        "1 of the 4 matching cells misses it"
    )


def test_settings_that_differ_and_directories_are_named(tmp_path: Path) -> None:
    runs = [*RUNS, Made("symmetric", 0.4, "mae", right=10, epochs=9, recency=0)]
    line = held(tmp_path / "a", runs=runs, where="loss=mae,epochs=9", fail_under=0.5)
    assert str(line).startswith("mae under symmetric at 0.4 has accuracy 0.1000")
    both = compared(write(tmp_path / "b", RUNS), write(tmp_path / "c", RUNS))
    line = missed(both, CompareSettings(), GateSettings(fail_under=0.81))
    assert f" in {tmp_path / 'b'} has " in str(line)
    mixed = [*RUNS, Made("symmetric", 0.4, "gce", right=10, epochs=9)]
    assert "gce under symmetric at 0.4 (epochs 9) has" in str(held(tmp_path / "d", runs=mixed, fail_under=0.5))


@pytest.mark.parametrize(
    ("limits", "where", "message"),
    [
        ({"fail_under": 80.0}, "", "--fail-under 80: accuracy lies between 0 and 1; 80 % is 0.8"),
        ({"fail_under_low": -0.1}, "", "--fail-under-low -0.1: accuracy lies between 0 and 1"),
        ({"fail_under": 0.8}, "rate=0.3", "no run has rate=0.3"),
        ({"fail_under": 0.8}, "noise=none,loss=mae", "no run has all of them together"),
    ],
)
def test_a_gate_that_nothing_can_be_held_against_is_refused(
    tmp_path: Path, limits: dict[str, float], where: str, message: str
) -> None:
    with pytest.raises(BadRequestError, match=message):
        held(tmp_path, where, **limits)


def test_a_metric_that_matching_cells_lack_is_refused(tmp_path: Path) -> None:
    nothing_wrong = [Made("none", 0.0, "ce", 95, memorised=float("nan")), *RUNS[2:]]
    assert held(tmp_path, runs=nothing_wrong, metric="memorised", fail_under=0.9) is None
    with pytest.raises(BadRequestError, match="memorised is not defined for any of the matching cells"):
        held(tmp_path, "noise=none", nothing_wrong, "memorised", fail_under=0.9)
