"""``flowernoise`` and ``python -m flowernoise``: run the command line; an error becomes one line and an exit code."""

from __future__ import annotations

import os
import sys

from flowernoise.errors import ExitCode, FlowernoiseError
from flowernoise.safe import atomic, signals, streams
from flowernoise.safe.streams import printable

MAX_LINE = 2000  # characters in an error line
MORE_MEMORY = (
    "raise the limit (ulimit -v), end other programs, or ask for less: --memory, --batch-size, --image-size or fewer "
    "photos"
)


def main() -> None:
    """Runs the command line and ends the process with its code.

    It ends at once: TensorFlow's clean-up would take a second, during which signals go unheard.
    """
    try:
        code = run()
    except signals.StoppedError as stopped:  # while another error was being reported
        code = _tell(stopped)
    os._exit(code)


def run() -> int:
    """Runs the command line, reports any error and returns the exit code. No signal is raised afterwards."""
    streams.own(hush="--debug" not in sys.argv)
    try:
        signals.listen(atomic.remove_temporaries)
        code = _command()
        sys.stdout.flush()
    except streams.ReaderLeftError:
        code = ExitCode.DONE
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else ExitCode.COULD_NOT
    except (Exception, signals.StoppedError) as error:
        return _tell(error)
    signals.block_signals()
    return code


def _command() -> int:
    if "--debug" not in sys.argv:
        _hush_libraries()
    import typer

    from flowernoise.cli import app

    code = typer.main.get_command(app)(standalone_mode=False)
    return code if isinstance(code, int) else ExitCode.DONE


def _tell(error: BaseException) -> int:
    """Writes the error line and returns the exit code; if a signal arrived, reports that instead."""
    message, code = _explain(signals.raised() or error)
    line = printable(" ".join(message.split()))
    signals.block_signals()
    sys.stderr.write(f"error: {line if len(line) <= MAX_LINE else line[:MAX_LINE] + '…'}\n")
    if "--debug" in sys.argv:
        import traceback

        traceback.print_exception(error)
    return code


def _explain(error: BaseException) -> tuple[str, ExitCode]:
    """The message for an error, and its exit code."""
    if isinstance(error, FlowernoiseError):
        return str(error), error.exit_code
    if isinstance(error, signals.StoppedError):
        return str(error), error.code
    from typer.exceptions import TyperException

    if isinstance(error, TyperException):
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        message = message.replace("Value error, ", "")  # Typer's prefix for choices
        return f"{message.rstrip('.')}; see `{_command_path(error)} --help`", ExitCode.BAD_REQUEST
    kind, first_line = type(error).__name__, (str(error).splitlines() or [""])[0]
    if _is_out_of_memory(error):
        what = f"out of memory: {first_line}" if first_line else "out of memory"
        return f"{what.rstrip('.')}; {MORE_MEMORY}", ExitCode.COULD_NOT
    if isinstance(error, RuntimeError) and "can't start new thread" in first_line:
        return f"{first_line}; raise the limit on processes (ulimit -u), or end other processes", ExitCode.COULD_NOT
    what = f"{kind}: {first_line}" if first_line else kind
    return f"unexpected {what}; the same command with --debug shows where", ExitCode.COULD_NOT


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused, to Python, to a library that is being loaded, or on a GPU."""
    refused = ("cannot allocate memory", "failed to map segment", "resource_exhausted", "out of memory")
    named = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
    return named or (isinstance(error, (ImportError, OSError, RuntimeError)) and _says(error, refused))


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    return any(word in str(error).lower() for word in words)


def _command_path(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "flowernoise"


def _hush_libraries() -> None:
    """Keeps stderr for our own lines: libraries warn and log, and threads and finalisers print their errors."""
    import logging
    import threading
    import warnings

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    threading.excepthook = lambda _: None
    sys.unraisablehook = lambda _: None


if __name__ == "__main__":
    main()
