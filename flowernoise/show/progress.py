"""Progress on stderr: one display, and a line for each piece of work that took a while."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from flowernoise.safe.streams import printable

WORTH_A_LINE = 2.0  # seconds
LONG_WAIT = 10.0  # seconds after which --quiet says that something is going on


class _Count(MofNCompleteColumn):
    """How many units are done; nothing for work that has none, such as loading a library."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["unit"] else Text()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s", style="cyan", no_wrap=True)


class _Time(ProgressColumn):
    """The time that is left, or for work without units the time that has passed."""

    def __init__(self) -> None:
        super().__init__()
        self._left, self._passed = TimeRemainingColumn(compact=True), TimeElapsedColumn()

    def render(self, task: Task) -> Text:
        return self._left.render(task) if task.fields["unit"] else self._passed.render(task)


class Terminal:
    """Shows progress where stderr is a terminal, and lines everywhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.visible = console.is_terminal
        self._open = 0
        self._display = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            _Count(),
            _Rate(),
            _Time(),
            console=console,
            transient=True,
            disable=not self.visible,
        )

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        """A spinner and a bar while the block runs; a line with the rate when it took long."""
        started, done = time.monotonic(), 0
        if not self._open:
            self._display.start()
        self._open += 1
        task = self._display.add_task(printable(description), total=total, unit=unit)

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
            counted = f"{done:,} {unit} in {seconds:,.1f} s ({done / seconds:,.1f} {unit}/s)"
            self.note(f"{description}: {counted if unit else f'{seconds:,.1f} s'}")

    def note(self, text: str) -> None:
        """A line above the bars; in a pipe it stays one line."""
        self._console.print(Text(printable(text)), soft_wrap=not self.visible)

    def close(self) -> None:
        """Does nothing: each task has ended its own display."""


class Quiet:
    """Shows nothing but one line, once a command has taken long."""

    visible = False

    def __init__(self, console: Console, long_wait: float = LONG_WAIT) -> None:
        self._console, self._seconds = console, long_wait
        self._doing: list[str] = []
        self._timer = threading.Timer(long_wait, self._tell)  # as nothing else runs while a library is being loaded
        self._timer.daemon = True
        self._timer.start()

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:  # noqa: ARG002 (the protocol's)
        """Remembers what is being done."""
        self._doing.append(description)
        try:
            yield lambda _: None
        finally:
            self._doing.remove(description)

    def note(self, text: str) -> None:
        """Drops the line."""

    def close(self) -> None:
        """Says nothing any more."""
        self._timer.cancel()

    def _tell(self) -> None:
        doing = f": {self._doing[-1]}" if self._doing else ""
        self._console.print(Text(printable(f"still working after {self._seconds:g} s{doing}")), soft_wrap=True)
