"""The stages of an experiment in order: where their files are, what depends on what, and how to repair each.

``status``, ``verify``, repairs, and the advice in error messages are built from this list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType


@dataclasses.dataclass(frozen=True)
class StageFacts:
    """Facts about a stage.

    Args:
        name: the name that ``status`` and ``verify`` use.
        folders: the folders in an artifacts directory that hold its files.
        files: its files directly in the artifacts directory, without their suffixes.
        way_out: what to do about a damaged file; ``{}`` stands for its path. Empty if no record says what was written.
        needed: whether an experiment is incomplete without it.
        from_evaluation: whether its files show the evaluation, and so go stale with it.
        on_demand: whether damaged files are made again when they are needed, so that setting them aside is enough.
        within: the stage that its files are counted with, if its way out differs from that stage's.
    """

    name: str
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    way_out: str = ""
    needed: bool = False
    from_evaluation: bool = False
    on_demand: bool = False
    within: str = ""


STAGES: Mapping[str, StageFacts] = MappingProxyType(
    {
        stage.name: stage
        for stage in (
            StageFacts(
                "prepare", ("photos",), ("dataset", "preset"), "`flowernoise prepare` makes it again", needed=True
            ),
            StageFacts("corrupt", ("draws",), way_out="`flowernoise corrupt` draws it again", needed=True),
            StageFacts(
                "features",
                ("features", "own_features"),
                way_out="it is extracted again when it is needed",
                on_demand=True,
            ),
            StageFacts(
                "train",
                ("first_stages", "runs"),
                way_out="`flowernoise train` with the same options makes its runs again",
                needed=True,
            ),
            StageFacts(
                "evaluate", (), ("evaluation",), "`flowernoise evaluate` makes it again", needed=True, on_demand=True
            ),
            StageFacts(
                "compare",
                ("comparisons",),
                way_out="`flowernoise compare` computes it again",
                from_evaluation=True,
                on_demand=True,
            ),
            StageFacts("plots", ("plots",), from_evaluation=True),
            StageFacts("preview", ("preview",)),
            StageFacts("report", ("report",), ("report",), from_evaluation=True),
            StageFacts("other"),
            # Records counted with another stage.
            StageFacts(
                "preset",
                way_out="remove {}, it only says which published figures to show",
                on_demand=True,
                within="prepare",
            ),
            StageFacts("own features", way_out="`flowernoise features --import` stores it again", within="features"),
            StageFacts("first stages", way_out="it is trained again when it is needed", on_demand=True, within="train"),
        )
    }
)
SHOWN = tuple(stage.name for stage in STAGES.values() if not stage.within)
CHECKED = tuple(name for name in SHOWN if STAGES[name].way_out)


def counted_as(stage: str) -> str:
    """The stage with which a stage's files are counted.

    >>> counted_as("first stages"), counted_as("train")
    ('train', 'train')
    """
    return STAGES[stage].within or stage
