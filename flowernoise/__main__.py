"""``flowernoise`` and ``python -m flowernoise``: run the command line; what goes wrong is one line and a code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType

from flowernoise.errors import ExitCode, FlowernoiseError


class _StoppedError(BaseException):
    """SIGINT or SIGTERM arrived; not an Exception, so that nothing on the way takes it for one."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


def main() -> None:
    """Runs the command line and exits with its code."""
    debug = "--debug" in sys.argv
    if not debug:
        _hush_libraries()
    _stop_on(signal.SIGTERM, ExitCode.TERMINATED)
    _stop_on(signal.SIGINT, ExitCode.INTERRUPTED)
    code = _run(debug)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    sys.exit(code)


def _run(debug: bool) -> int:
    import typer

    from flowernoise import help
    from flowernoise.cli import app

    try:
        command = typer.main.get_command(app)
        if {"--help", "-h"} & set(sys.argv[2:]):
            help.complete(command)
        code = command(standalone_mode=False)
        return code if isinstance(code, int) else ExitCode.DONE
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else ExitCode.COULD_NOT
    except BrokenPipeError:
        _forget_stdout()
        return ExitCode.DONE
    except (Exception, _StoppedError) as error:
        message, code = _explain(error)
        sys.stderr.write(f"error: {' '.join(message.split())}\n")
        if debug:
            traceback.print_exception(error)
        return code


def _explain(error: BaseException) -> tuple[str, ExitCode]:
    """What to tell of an error, and the exit code."""
    from typer.exceptions import TyperException

    if isinstance(error, FlowernoiseError):
        return str(error), error.exit_code
    if isinstance(error, _StoppedError):
        word = "interrupted" if error.code == ExitCode.INTERRUPTED else "terminated"
        return f"{word}; what is finished is kept, the same command goes on from there", error.code
    if isinstance(error, TyperException):
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        return f"{message.rstrip('.')}; see `{_command_path(error)} --help`", ExitCode.BAD_REQUEST
    first_line = (str(error).splitlines() or [""])[0]
    hint = "the same command with --debug shows where"
    return f"unexpected {type(error).__name__}: {first_line}; {hint}", ExitCode.COULD_NOT


def _command_path(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "flowernoise"


def _stop_on(number: signal.Signals, code: ExitCode) -> None:
    """Turns a signal into an exception, unless whoever started us wants it ignored, as shells do in the background."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _StoppedError(code)

    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, stop)


def _hush_libraries() -> None:
    """Keeps stderr for our own lines: TensorFlow's C++ parts write to descriptor 2, its Python parts log and warn."""
    import logging
    import warnings

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        own = os.dup(2)
        sys.stderr = os.fdopen(own, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    except OSError:  # started without a stderr
        return


def _forget_stdout() -> None:
    """Whoever read our output has left; nothing more is to be written, nor complained about."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


if __name__ == "__main__":
    main()
