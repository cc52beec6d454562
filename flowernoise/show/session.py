"""One command's way to the user: data to stdout, progress and notes to stderr."""

from __future__ import annotations

import dataclasses
import io
import json as json_library
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

import msgspec
from rich.console import Console, RenderableType
from rich.table import Table

from flowernoise.analysis.results.listed import Listed
from flowernoise.analysis.results.stages import CorruptResult, EvaluateResult, PrepareResult, RunResult, TrainResult
from flowernoise.analysis.results.status import Status
from flowernoise.analysis.results.upkeep import RemoveResult, VerifyResult
from flowernoise.analysis.results.written import PlotResult, PreviewResult, ReportResult
from flowernoise.catalogue.sources import label_words
from flowernoise.errors import FlowernoiseError, GateMissedError, PartlyFailedError
from flowernoise.progress import Progress, Silent
from flowernoise.safe.atomic import write_output
from flowernoise.show import export, status, summaries, table
from flowernoise.show.progress import Terminal
from flowernoise.store.records import Comparison, Dataset
from flowernoise.store.setups import settings

PIPE_WIDTH = 100  # columns where there is no terminal; tables that need more get more


class Session:
    """Shows results as text or JSON, and progress unless it is to be quiet."""

    def __init__(self, *, quiet: bool, json: bool) -> None:
        self._json = json
        self.stdout = _console(sys.stdout)
        self.stderr = Console(file=sys.stderr, highlight=False)
        self.progress: Progress = Silent() if quiet else Terminal(self.stderr)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stdout.file.flush()

    def show_prepare(self, result: PrepareResult) -> None:
        """Class counts of each split, and what was set apart."""
        dataset = result.dataset
        if result.done_before:
            self.progress.note("prepare: done already, nothing touched")
        else:
            self._report_set_apart(result.dataset)
            if not label_words(dataset.request.source).are_clean:
                self.progress.note("labels are taken as given, in test too; noise is counted as added to them")
        self._report_stale(result)
        if self._json:
            return self._print_json({"schema": 1, "done_before": result.done_before, **msgspec.to_builtins(dataset)})
        return self._print(summaries.counts(dataset))

    def _report_stale(self, result: PrepareResult) -> None:
        if result.stale:
            self.progress.note(
                f"stale, as they belong to other photos: {', '.join(result.stale)}; `flowernoise corrupt` comes next"
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
                "photo there more than once (equal in pixels), kept once",
                "photos there more than once (equal in pixels), kept once each",
            ),
            (
                [" = ".join(paths) for paths in dataset.contradictory],
                "photo under two classes (equal in pixels), dropped",
                "photos under two classes (equal in pixels), dropped",
            ),
        )
        for items, one, many in groups:
            if items:
                more = f"; and {len(items) - 5} more (in dataset.json)" if len(items) > 5 else ""
                self.progress.note(f"{len(items)} {one if len(items) == 1 else many}: {'; '.join(items[:5])}{more}")

    def show_corrupt(self, result: CorruptResult) -> None:
        """A row a noise model and rate, with the realised rates."""
        if not result.made:
            self.progress.note("corrupt: done already, nothing touched")
        if self._json:
            draws = [msgspec.to_builtins(draw) for draw in result.draws]
            return self._print_json(
                {"schema": 1, "made": result.made, "done_before": result.done_before, "draws": draws}
            )
        return self._print(summaries.draws(result))

    def show_train(self, result: TrainResult) -> None:
        """How many runs were trained, where, and how long it took; exit code 3 if some failed."""
        if not result.trained:
            self.progress.note("train: done already, nothing touched")
        if self._json:
            self._print_json(
                {
                    "schema": 1,
                    "trained": result.trained,
                    "done_before": result.done_before,
                    **settings(result.setup),
                    "failed": [{**summaries.identity(key), "reason": reason} for key, reason in result.failed],
                    "device": result.engine.device,
                    "engine": result.engine.name,
                    "extractor": result.extractor and msgspec.to_builtins(result.extractor),
                    "feature_seconds": round(result.feature_seconds, 3),
                    "training_seconds": round(result.training_seconds, 3),
                }
            )
        else:
            self._print(summaries.trained(result))
        self._fail_partly(result)

    def show_evaluate(self, result: EvaluateResult) -> None:
        """Each run's metrics; as a table only the first ones."""
        if result.done_before:
            self.progress.note("evaluate: done already, nothing touched")
        if self._json:
            return self._print_json(
                {
                    "schema": 1,
                    "digest": result.evaluation.arrays.sha256,
                    "runs": [summaries.run_metrics(result, row) for row in range(len(result.evaluation.runs))],
                }
            )
        if len(result.evaluation.runs) > summaries.MOST_RUNS:
            self.progress.note(
                f"the first {summaries.MOST_RUNS} of {len(result.evaluation.runs):,} runs; --json has all of them"
            )
        return self._print(summaries.runs(result))

    def show_list(self, things: Sequence[Listed], in_full: bool) -> None:
        """A line a thing, or one thing in full."""
        if self._json:
            return self._print_json({"schema": 1, "things": [dataclasses.asdict(thing) for thing in things]})
        if in_full:
            return self._print(f"{summaries.spec(things[0])}\n\n{things[0].details}")
        for shown in summaries.things(things):
            self._print_folding(shown)
        return None

    def show_plot(self, result: PlotResult) -> None:
        """The paths of the pictures, a line each."""
        for note in result.notes:
            self.progress.note(note)
        if all(drawn.done_before for drawn in result.files):
            self.progress.note("plot: done already, nothing touched")
        if self._json:
            drawn = [{"kind": f.kind, "path": str(f.path), "done_before": f.done_before} for f in result.files]
            return self._print_json({"schema": 1, "files": drawn})
        return self._print("\n".join(str(drawn.path) for drawn in result.files))

    def show_comparison(self, result: Comparison, form: str, output: Path | None, missed: str | None = None) -> None:
        """The table, in the form asked for; exit code 4 if it misses a gate, for the reason given."""
        if output is not None:
            console = Console(file=io.StringIO(), width=PIPE_WIDTH, no_color=True)
            write_output(output, _comparison(result, form, console).encode())
            self.progress.note(f"written to {output}")
        elif form == "table":
            table.show(result, self.stdout)
        else:
            self.stdout.file.write(_comparison(result, form, self.stdout))
        if missed:
            raise GateMissedError(missed)

    def show_preview(self, result: PreviewResult) -> None:
        """A row a contact sheet: its file, how many photos it shows, and how many of them are wrong."""
        from flowernoise.show.contact_sheet import class_names

        if not result.written:
            self.progress.note("preview: done already, nothing touched")
        renamed = [f"{a} as {b}" for a, b in zip(result.classes, class_names(result.classes), strict=True) if a != b]
        if renamed:
            self.progress.note(f"the font of the sheets lacks letters, so they name {', '.join(renamed)}")
        if self._json:
            sheets = [{**dataclasses.asdict(sheet), "file": str(sheet.file)} for sheet in result.sheets]
            return self._print_json({"schema": 1, "written": result.written, "sheets": sheets})
        return self._print_folding(summaries.sheets(result))

    def show_status(self, result: Status, *, check: bool = False) -> None:
        """A row a stage, and the command that comes next; with ``check`` exit code 4 unless all is sound and done."""
        if self._json:
            self._print_json(status.as_json(result))
        else:
            status.show(result, self.stdout)
        if check and result.shortcomings:
            raise GateMissedError(status.shortcomings(result))

    def show_verify(self, result: VerifyResult) -> None:
        """How much was checked, and a line for whatever is wrong or was made again; an error if anything is wrong."""
        for note in result.notes:
            self.progress.note(note)
        if self._json:
            self._print_json({"schema": 1, **dataclasses.asdict(result)})
        else:
            self._print(summaries.checked(result))
            for problem in result.repaired:
                self._print(f"repaired: {problem.text}")
            for problem in result.problems:
                self._print("; ".join(filter(None, (f"wrong: {problem.text}", problem.way_out))))
        if result.problems:
            paths = list(dict.fromkeys(problem.path for problem in result.problems))
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            way_out = "run what is named above" if result.mended else "`flowernoise verify --repair` mends what it can"
            raise FlowernoiseError(
                f"{len(paths)} {'file' if len(paths) == 1 else 'files'} in {result.directory} cannot be trusted: "
                f"{', '.join(paths[:3])}{more}; {way_out}"
            )

    def show_remove(self, result: RemoveResult) -> None:
        """What was removed, or would be."""
        if not result.removed:
            self.progress.note("nothing is removed yet; `--yes` removes these runs")
        if self._json:
            runs = [{**summaries.kind(each), "runs": each.runs} for each in result.runs]
            return self._print_json({"schema": 1, "removed": result.removed, "runs": runs, "bytes": result.bytes})
        return self._print_folding(summaries.removal(result))

    def show_report(self, result: ReportResult) -> None:
        """The paths of the page and of the same in Markdown."""
        if all(written.done_before for written in result.files):
            self.progress.note("report: done already, nothing touched")
        if self._json:
            written = [{"path": str(f.path), "bytes": f.size, "done_before": f.done_before} for f in result.files]
            return self._print_json({"schema": 1, "files": written})
        return self._print("\n".join(str(written.path) for written in result.files[:2]))

    def show_run(self, result: RunResult, form: str, output: Path | None) -> None:
        """The table; what the stages did goes to stderr."""
        if result.prepare.done_before and not (result.corrupt.made or result.train.trained):
            self.progress.note("run: done already, nothing touched")
        if not result.prepare.done_before:
            self._report_stale(result.prepare)
            self._report_set_apart(result.prepare.dataset)
        if result.train.trained:
            self.progress.note(summaries.trained(result.train))
        self.show_comparison(result.compare, form, output)
        self._fail_partly(result.train)

    def _fail_partly(self, result: TrainResult) -> None:
        if result.failed:
            key, reason = result.failed[0]
            raise PartlyFailedError(
                f"{len(result.failed)} of {result.trained + result.done_before} runs failed, the rest is kept; the "
                f"first is {key.method} on {key.draw}: {reason}"
            )

    def _print(self, renderable: RenderableType) -> None:
        if isinstance(renderable, str):
            self.stdout.print(renderable, soft_wrap=True, markup=False)
        else:
            table.print_whole(self.stdout, renderable)

    def _print_folding(self, shown: Table) -> None:
        """Prints a table that, unlike one of figures, may fold a column where a terminal is narrow."""
        self.stdout.print(shown) if self.stdout.is_terminal else self._print(shown)

    def _print_json(self, plain: Mapping[str, object]) -> None:
        self.stdout.file.write(json_library.dumps(plain, indent=1, ensure_ascii=False) + "\n")


def _console(stream: TextIO) -> Console:
    """A console as wide as the terminal; where there is none, tables that need more than its width get it."""
    console = Console(file=stream, highlight=False)
    return console if console.is_terminal else Console(file=stream, width=PIPE_WIDTH, highlight=False)


def _comparison(result: Comparison, form: str, console: Console) -> str:
    if form != "table":
        return {"json": export.as_json, "csv": export.as_csv, "markdown": export.as_markdown}[form](result)
    with console.capture() as captured:
        table.show(result, console)
    return captured.get()
