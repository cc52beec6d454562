"""What is known of the stages covers what an artifacts directory holds."""

import pytest

from flowernoise.store.inventory.kinds import ALL
from flowernoise.store.inventory.litter import stage_of
from flowernoise.store.layout import Layout
from flowernoise.store.stages import CHECKED, SHOWN, STAGES, counted_as


def test_the_stages_come_in_the_order_in_which_they_are_made() -> None:
    assert SHOWN[:6] == ("prepare", "corrupt", "features", "train", "evaluate", "compare") == CHECKED
    assert [name for name in SHOWN if STAGES[name].needed] == ["prepare", "corrupt", "train", "evaluate"]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.stage)
def test_the_records_of_every_kind_are_those_of_a_stage_that_tells_their_way_out(kind, tmp_path) -> None:
    place = kind.place(Layout(tmp_path)).relative_to(tmp_path)
    name = f"{place}" if place.suffix else f"{place}/a.json"
    assert stage_of(name) == counted_as(kind.stage)
    assert STAGES[kind.stage].way_out


def test_every_folder_of_the_program_is_that_of_a_stage(tmp_path) -> None:
    layout = Layout(tmp_path)
    folders = {folder.name for folder in layout.folders} - {layout.locks.name}
    assert folders == {folder for stage in STAGES.values() for folder in stage.folders}
