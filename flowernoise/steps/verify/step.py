"""The step itself: an audit and, on request, repairs and another audit."""

from __future__ import annotations

from pathlib import Path

from flowernoise.analysis.results.upkeep import VerifyResult
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.steps.verify.audit import audit
from flowernoise.steps.verify.repair import repair
from flowernoise.store import artifacts, inventory


def verify(artifacts_directory: Path, progress: Progress, *, mend: bool = False) -> VerifyResult:
    """Checks every digest and schema in a directory, and traces each result from the table to the photos.

    Args:
        mend: repair what can be repaired; damaged files are quarantined, never deleted.

    Raises:
        BadRequestError: there is no artifacts directory.
    """
    layout = artifacts.opened(artifacts_directory)
    if not layout.root.is_dir():
        raise BadRequestError(f"{layout.root} does not exist; `flowernoise prepare` makes an artifacts directory")
    before = audit(layout, progress)
    if not mend:
        return VerifyResult(str(layout.root), before.checked, before.problems, (), before.notes, mend)
    inventory.clean(layout)
    if before.problems:
        repair(layout, before, progress)
    after = audit(layout, progress) if before.problems else before
    still = {problem.path for problem in after.problems}
    repaired = tuple(problem for problem in before.problems if problem.path not in still)
    return VerifyResult(str(layout.root), after.checked, after.problems, repaired, after.notes, mend)
