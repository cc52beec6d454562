"""The stages of an experiment in order: where their files lie, what is made from what, and what mends each.

``status``, ``verify`` and its repair, and the words that tell a way out are made from this list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType


@dataclasses.dataclass(frozen=True)
class StageFacts:
    """What is known of a stage.

    Args:
        name: as ``status`` and ``verify`` call it.
        folders: those below the root of an artifacts directory that hold its files.
        files: those at the root, without suffix.
        way_out: what to do about a file that is not what was written; ``{}`` stands for its path. Empty where nothing
            records what was written.
        needed: whether an experiment is not done without it.
        from_evaluation: whether its files show what was evaluated, and so are stale once that is.
        on_demand: whether what is wrong is made again once it is needed, so that it only has to be out of the way.
        within: the stage that its files are counted with, where its way out is its own.
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
            StageFacts("features", ("features",), way_out="it is extracted again once it is needed", on_demand=True),
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
            # Records that lie among those of another stage.
            StageFacts(
                "preset",
                way_out="remove {}, it only says which published figures to show",
                on_demand=True,
                within="prepare",
            ),
            StageFacts("first stages", way_out="it is trained again once it is needed", on_demand=True, within="train"),
            StageFacts(  # of fine-tuned runs
                "answers", way_out="`flowernoise evaluate` makes it again", on_demand=True, within="train"
            ),
        )
    }
)
SHOWN = tuple(stage.name for stage in STAGES.values() if not stage.within)
CHECKED = tuple(name for name in SHOWN if STAGES[name].way_out)


def counted_as(stage: str) -> str:
    """The stage that a stage's files are counted with.

    >>> counted_as("answers"), counted_as("train")
    ('train', 'train')
    """
    return STAGES[stage].within or stage
