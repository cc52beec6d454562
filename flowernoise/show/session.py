"""One command's way to the user: data to stdout, progress and notes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.console import Console

from flowernoise.analysis.results.listed import Listed
from flowernoise.analysis.results.models import ExportResult, PredictResult
from flowernoise.analysis.results.stages import (
    CorruptResult,
    EvaluateResult,
    FeaturesResult,
    PrepareResult,
    RunResult,
    TrainResult,
)
from flowernoise.analysis.results.status import Status
from flowernoise.analysis.results.upkeep import RemoveResult, VerifyResult
from flowernoise.analysis.results.written import PlotResult, PreviewResult, ReportResult
from flowernoise.errors import FlowernoiseError, GateMissedError, PartlyFailedError
from flowernoise.progress import Progress
from flowernoise.safe.atomic import write_output
from flowernoise.show import comparison, models, status, summaries, writers
from flowernoise.show.document import Document
from flowernoise.show.progress import Quiet, Terminal
from flowernoise.show.writers import json_, table
from flowernoise.store.records import Comparison, Dataset


class Session:
    """Shows results as text or JSON, and progress unless it is to be quiet."""

    def __init__(self, *, quiet: bool, json: bool) -> None:
        self._json, self._quiet = json, quiet
        self.stdout = _console(sys.stdout)
        self.stderr = Console(file=sys.stderr, highlight=False)
        self._shown = Quiet(self.stderr) if quiet else Terminal(self.stderr)
        self.progress: Progress = self._shown

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._shown.close()
        self.stdout.file.flush()

    def suggest(self, find: Callable[[], str | None]) -> None:
        """Tells a person which command comes next, if there is any."""
        if self._quiet or not self.stderr.is_terminal:
            return
        self.stdout.file.flush()
        if command := find():
            self.progress.note(f"next: {command}")

    def show_prepare(self, result: PrepareResult) -> None:
        """Class counts of each split, and what was set apart."""
        dataset = result.dataset
        if result.done_before:
            self.progress.note("prepare: done already, nothing touched")
        self._report_source(dataset)
        if not result.done_before:
            self._report_set_apart(dataset)
            if dataset.given and dataset.given.equal:
                equal = dataset.given.equal
                self.progress.note(f"{equal:,} rows equal another; all are kept, and equal ones are in one split")
            if note := summaries.whose_labels(dataset.request):
                self.progress.note(note)
        for note in summaries.left_out(result.passed_over):
            self.progress.note(note)
        self._report_stale(result)
        self._show(summaries.prepared(result))

    def _report_stale(self, result: PrepareResult) -> None:
        if result.stale:
            self.progress.note(f"stale, because they belong to other photos: {', '.join(result.stale)}")

    def _report_source(self, dataset: Dataset) -> None:
        if dataset.given_splits:
            self.progress.note(summaries.splits_as_given(dataset))
        for note in summaries.from_table(dataset):
            self.progress.note(note)
        if empty := summaries.classes_without_photos(dataset):
            self.progress.note(empty)
        if dataset.without_split:
            self.progress.note(
                f"photos left out, in other splits than train, val and test: {dataset.without_split:,}; "
                "--resplit takes them too"
            )

    def _report_set_apart(self, dataset: Dataset) -> None:
        groups = (
            (
                [f"{file.path}: {file.reason}" for file in dataset.unreadable],
                "unreadable file skipped",
                "unreadable files skipped",
            ),
            (
                [" = ".join(paths) for paths in dataset.identical],
                "photo with more than one copy (equal in pixels), kept once",
                "photos with more than one copy (equal in pixels), kept once each",
            ),
            (
                [" = ".join(paths) for paths in dataset.across_splits],
                "of them given in several splits, kept in the test split (else in val)",
                "of them given in several splits, kept in the test split (else in val)",
            ),
            (
                [" = ".join(paths) for paths in dataset.contradictory],
                "photo in two classes (equal in pixels), dropped",
                "photos in two classes (equal in pixels), dropped",
            ),
        )
        for items, one, many in groups:
            if items:
                more = f"; and {len(items) - 5} more (in dataset.json)" if len(items) > 5 else ""
                self.progress.note(f"{len(items)} {one if len(items) == 1 else many}: {'; '.join(items[:5])}{more}")

    def show_corrupt(self, result: CorruptResult) -> None:
        """One row per noise model and rate, with the realised rates."""
        if not (result.made or result.exported):
            self.progress.note("corrupt: done already, nothing touched")
        self._show(summaries.corrupted(result))

    def show_train(self, result: TrainResult) -> None:
        """How many runs were trained, where, and how long it took; exit code 3 if some failed."""
        if not result.trained:
            self.progress.note("train: done already, nothing touched")
        self._show(summaries.trained(result))
        self._fail_partly(result)

    def show_features(self, result: FeaturesResult) -> None:
        """How many photos have features, and what was read or written."""
        if result.done_before:
            self.progress.note("features: done already, nothing touched")
        self._show(summaries.features(result))

    def show_evaluate(self, result: EvaluateResult) -> None:
        """Each run's metrics; as a table only the first ones."""
        if result.done_before:
            self.progress.note("evaluate: done already, nothing touched")
        if not self._json and len(result.evaluation.runs) > summaries.MAX_RUNS:
            self.progress.note(
                f"the first {summaries.MAX_RUNS} of {len(result.evaluation.runs):,} runs; --json has all of them"
            )
        self._show(summaries.evaluated(result))

    def show_list(self, things: Sequence[Listed], in_full: bool) -> None:
        """One line per thing, or one thing in full."""
        self._show(summaries.listed(things, in_full=in_full))

    def show_plot(self, result: PlotResult) -> None:
        """The paths of the pictures, one per line."""
        for note in result.notes:
            self.progress.note(note)
        if all(drawn.done_before for drawn in result.files):
            self.progress.note("plot: done already, nothing touched")
        self._show(summaries.drawn(result))

    def show_comparison(
        self,
        result: Comparison,
        form: str,
        output: Path | None,
        missed: str | None = None,
        *,
        per_seed: bool = False,
    ) -> None:
        """The table, in the requested form; exit code 4 if it misses a gate, for the reason given."""
        document = comparison.document(result, per_seed=per_seed)
        if output is not None:
            is_new = write_output(output, writers.named(form).write(document).encode())
            self.progress.note(f"written to {output}" if is_new else f"{output} holds this already, left untouched")
        else:
            self._show(document, form)
        if missed:
            raise GateMissedError(missed)

    def show_preview(self, result: PreviewResult) -> None:
        """One row per contact sheet: its file, how many photos it shows, and how many of them are wrong."""
        from flowernoise.show.contact_sheet import class_names

        if result.done_before:
            self.progress.note("preview: done already, nothing touched")
        renamed = [f"{a} as {b}" for a, b in zip(result.classes, class_names(result.classes), strict=True) if a != b]
        if renamed:
            self.progress.note(f"the font of the sheets lacks some letters, so they write {', '.join(renamed)}")
        self._show(summaries.previewed(result))

    def show_status(self, result: Status, *, check: bool = False) -> None:
        """One row per stage, and what comes next; with ``check`` exit code 4 unless everything is sound and done."""
        self._show(status.document(result))
        if check and result.shortcomings:
            raise GateMissedError(status.shortcomings(result))

    def show_verify(self, result: VerifyResult) -> None:
        """How much was checked, with a line for each thing wrong or made again; an error if anything is wrong."""
        for note in result.notes:
            self.progress.note(note)
        self._show(summaries.verified(result))
        if result.problems:
            paths = list(dict.fromkeys(problem.path for problem in result.problems))
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            way_out = (
                "run the commands named above" if result.mended else "`flowernoise verify --repair` mends what it can"
            )
            raise FlowernoiseError(
                f"{len(paths)} {'file' if len(paths) == 1 else 'files'} in {result.directory} cannot be trusted: "
                f"{', '.join(paths[:3])}{more}; {way_out}"
            )

    def show_export(self, result: ExportResult) -> None:
        """The paths of the model and of its classes, and how it differs from the run."""
        if result.done_before:
            self.progress.note("export: done already, nothing touched")
        self._show(models.exported(result))

    def show_predict(self, result: PredictResult) -> None:
        """CSV with a line per photo; exit code 3 if some cannot be read, 1 if all."""
        self._show(models.predicted(result), "json" if self._json else "csv")
        if result.unreadable:
            (path, why), count = result.unreadable[0], len(result.unreadable) + len(result.photos)
            error = PartlyFailedError if result.photos else FlowernoiseError
            raise error(f"{len(result.unreadable)} of {count} photos have no prediction; the first, {path}, {why}")

    def show_remove(self, result: RemoveResult) -> None:
        """What was removed, or would be."""
        if not result.removed:
            self.progress.note("nothing has been removed; add --yes to remove these runs")
        self._show(summaries.removal(result))

    def show_report(self, result: ReportResult) -> None:
        """The paths of the page and of the same in Markdown."""
        if all(written.done_before for written in result.files):
            self.progress.note("report: done already, nothing touched")
        self._show(summaries.reported(result))

    def show_run(self, result: RunResult, form: str, output: Path | None, *, per_seed: bool = False) -> None:
        """The table; what the stages did goes to stderr."""
        if result.done_before:
            self.progress.note("run: done already, nothing touched")
        else:
            for line in summaries.stages(result):
                self.progress.note(line)
        if not result.prepare.done_before:
            self._report_stale(result.prepare)
            self._report_source(result.prepare.dataset)
            self._report_set_apart(result.prepare.dataset)
        self.show_comparison(result.compare, form, output, per_seed=per_seed)
        self._fail_partly(result.train)

    def _fail_partly(self, result: TrainResult) -> None:
        if result.failed:
            key, reason = result.failed[0]
            raise PartlyFailedError(
                f"{len(result.failed)} of {result.trained + result.done_before} runs failed, the others are kept; the "
                f"first is {key.method} on {key.draw}: {reason}"
            )

    def _show(self, document: Document, form: str = "") -> None:
        """Writes a document to stdout: as a table in the width and colours of the terminal, or in another format."""
        form = form or ("json" if self._json else "table")
        if form == "table":
            table.show(document, self.stdout)
        else:
            text = writers.named(form).write(document)
            self.stdout.file.write(json_.fitting(text, self.stdout.encoding) if form == "json" else text)


def _console(stream: TextIO) -> Console:
    """A console as wide as the terminal; in a pipe, tables may be wider than the console."""
    console = Console(file=stream, highlight=False)
    return console if console.is_terminal else Console(file=stream, width=table.PIPE_WIDTH, highlight=False)
