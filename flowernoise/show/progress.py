"""Progress on stderr: one display, and a line for each piece of work that took a while."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from flowernoise.safe.streams import printable

WORTH_A_LINE = 2.0  # seconds


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s", style="cyan", no_wrap=True)


class Terminal:
    """Shows progress where stderr is a terminal, and lines everywhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.visible = console.is_terminal
        self._open = 0
        self._display = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not self.visible,
        )

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        """A bar while the block runs; a line with the rate when it took long."""
        started, done = time.monotonic(), 0
        if not self._open:
            self._display.start()
        self._open += 1
        task = self._display.add_task(escape(description), total=total)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._display.advance(task, count)

        try:
            yield advance
        finally:
            self._display.remove_task(task)
            self._open -= 1
            if not self._open:
                self._display.stop()
        seconds = time.monotonic() - started
        if seconds > WORTH_A_LINE:
            self.note(f"{description}: {done:,} {unit} in {seconds:,.1f} s ({done / seconds:,.1f} {unit}/s)")

    def note(self, text: str) -> None:
        """A line above the bars; in a pipe it stays one line."""
        self._console.print(Text(printable(text)), soft_wrap=not self.visible)
