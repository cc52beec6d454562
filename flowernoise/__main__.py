"""``flowernoise`` and ``python -m flowernoise``: run the command line; what goes wrong is one line and a code."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from flowernoise.errors import ExitCode, FlowernoiseError


class _Terminated(BaseException):
    """SIGTERM arrived."""


def main() -> None:
    """Runs the command line and exits with its code."""
    debug = "--debug" in sys.argv
    if not debug:
        _hush_libraries()
    signal.signal(signal.SIGTERM, _on_sigterm)
    code = _run(debug)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    sys.exit(code)


def _run(debug: bool) -> int:
    from typer.exceptions import TyperException

    from flowernoise.cli import app

    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else ExitCode.DONE
    except FlowernoiseError as error:
        _tell(str(error))
        code = error.exit_code
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        _tell(f"{message.rstrip('.')}; see `{_command_path(error)} --help`")
        code = ExitCode(getattr(error, "exit_code", ExitCode.BAD_REQUEST))
    except _Terminated:
        _tell("terminated; what is finished is kept, the same command goes on from there")
        code = ExitCode.TERMINATED
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else ExitCode.COULD_NOT
        _tell("interrupted; what is finished is kept, the same command goes on from there")
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return ExitCode.DONE
    except Exception as error:
        if debug:
            raise
        first_line = (str(error).splitlines() or [""])[0]
        _tell(f"unexpected {type(error).__name__}: {first_line}; the same command with --debug shows where")
        return ExitCode.COULD_NOT
    if debug:
        import traceback

        traceback.print_exc()
    return code


def _command_path(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "flowernoise"


def _tell(message: str) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")


def _on_sigterm(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated


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
