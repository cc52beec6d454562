"""Units of work: how a sweep is cut, and that what is there already changes neither the cutting nor the bits."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from flowernoise.progress import Silent
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.train import TrainSettings, plan, train, units
from flowernoise.steps.train.sweep import Sweep
from flowernoise.steps.train.units import Unit
from flowernoise.store import claims, files, first_stages, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import RunBlock
from tests.reliability.real_command import state

pytestmark = pytest.mark.usefixtures("tiny_backbone")
SETTINGS = TrainSettings(
    losses=("ce", "forward", "peer"), backbone="tiny", epochs=2, batch_size=8, learning_rates=(1e-2,), l2=(1e-3,)
)


@pytest.fixture
def directory(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Draws of four rates and two seeds; a unit holds four runs at most."""
    corrupt(prepared, CorruptSettings(rates=(0.2, 0.4, 0.5), seeds=2), Silent())
    monkeypatch.setattr("flowernoise.training.heads.recommended_heads", lambda *_: 4)
    return prepared


def cut(directory: Path, settings: TrainSettings = SETTINGS) -> list[Unit]:
    work = plan.make(Layout(directory), settings, Silent())
    return units.cut(work, plan.asked(work))


def test_every_run_is_in_one_unit_of_its_seed_and_first_stages_come_first(directory: Path) -> None:
    found = cut(directory)
    work = plan.make(Layout(directory), SETTINGS, Silent())
    assert sorted(key for unit in found if unit.stage is None for key in unit.keys) == sorted(plan.asked(work))
    assert all(len({key.seed for key in unit.keys}) == 1 for unit in found)
    assert all(len(unit.keys) <= 4 for unit in found)
    assert [unit.stage is not None for unit in found] == sorted(
        (unit.stage is not None for unit in found), reverse=True
    )
    assert {key.draw for unit in found if unit.stage for key in unit.keys} == set(work.drawn)
    for unit in found:
        assert len({key.method == "peer" for key in unit.keys}) == 1  # all heads of a unit are asked about the peers


def test_of_fine_tuning_every_run_is_a_unit_loss_by_loss(directory: Path) -> None:
    settings = dataclasses.replace(SETTINGS, mode="finetune", learning_rates=(1e-3,), l2=(0.0,))
    found = [unit for unit in cut(directory, settings) if unit.stage is None]
    assert {len(unit.keys) for unit in found} == {1}
    methods = [unit.keys[0].method for unit in found]
    assert methods == sorted(methods, key=SETTINGS.losses.index)


def test_the_cutting_depends_on_what_is_asked_for_and_not_on_what_is_there(directory: Path) -> None:
    before = cut(directory)
    train(directory, dataclasses.replace(SETTINGS, losses=("forward",)), Silent())
    assert cut(directory) == before
    sweep = Sweep(plan.make(Layout(directory), SETTINGS, Silent()), [], None, Silent())
    assert sweep.missing() == []


@pytest.mark.parametrize("share", [1, 3, 6])
def test_what_is_interrupted_and_shared_comes_out_to_the_bit(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    """A few units, then a process that finds the next one claimed and goes on behind it, then the rest."""
    alone = shutil.copytree(directory, tmp_path / "alone")
    train(alone, SETTINGS, Silent())
    write, write_stage, written = runs.write, first_stages.write, []

    def counted(*record: object) -> None:
        if len(written) == share:
            raise KeyboardInterrupt
        written.append(record)
        (write if isinstance(record[1], RunBlock) else write_stage)(*record)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write", counted)
        patch.setattr(first_stages, "write", counted)
        with pytest.raises(KeyboardInterrupt):
            train(directory, SETTINGS, Silent())
    layout = Layout(directory)
    work = plan.make(layout, SETTINGS, Silent())
    sweep = Sweep(work, plan.asked(work), None, Silent())
    with claims.claimed(layout, Silent(), sweep.choose) as held:
        first, others = sweep.unit, claims._living(layout)
        assert first is not None
        second = Sweep(work, plan.asked(work), None, Silent())
        claim = second.choose(others)
        assert claim is not None
        assert second.unit is not None
        assert set(first.keys).isdisjoint(second.unit.keys)
        assert claim.makes.keys().isdisjoint(files.digest_of(key)[:16] for key in first.keys)
        held.change(lambda _: None)
    train(directory, SETTINGS, Silent())
    for folder in ("runs", "first_stages"):
        assert state(directory / folder) == state(alone / folder)


def test_a_first_stage_serves_every_loss_that_wants_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(directory, dataclasses.replace(SETTINGS, losses=("forward",)), Silent())
    before = state(directory / "first_stages")
    assert before
    monkeypatch.setattr(first_stages, "write", lambda *_: pytest.fail("trained again"))
    train(directory, dataclasses.replace(SETTINGS, losses=("backward",)), Silent())
    assert state(directory / "first_stages") == before


def test_a_damaged_first_stage_is_quarantined_and_trained_again_to_the_byte(directory: Path) -> None:
    train(directory, dataclasses.replace(SETTINGS, losses=("forward",)), Silent())
    before = state(directory / "first_stages")
    path = min((directory / "first_stages").iterdir())
    path.write_bytes(path.read_bytes()[:-9])
    shutil.rmtree(directory / "runs")
    train(directory, dataclasses.replace(SETTINGS, losses=("forward",)), Silent())
    path.with_name(f"{path.name}.damaged").unlink()
    assert state(directory / "first_stages") == before
