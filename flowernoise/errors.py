"""What can go wrong, as exceptions that know their exit code.

Every error that a user can cause or see is one of these. The command line prints it as one line, ``error: …``, that
names the thing, the reason and the way out.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    COULD_NOT = 1
    BAD_REQUEST = 2
    PARTLY_FAILED = 3
    GATE_MISSED = 4
    INTERRUPTED = 130
    TERMINATED = 143


class FlowernoiseError(Exception):
    """Something could not be done; the message is one line for the user."""

    exit_code: ExitCode = ExitCode.COULD_NOT


class BadRequestError(FlowernoiseError, ValueError):
    """The request itself is wrong: an unknown name, a value out of range, a missing earlier stage."""

    exit_code = ExitCode.BAD_REQUEST


class DamagedFileError(FlowernoiseError):
    """A stored file is not what was written: wrong digest or form, missing, or not a regular file."""


class OtherVersionError(FlowernoiseError):
    """A stored file has a schema that this version does not know, so it is neither read nor replaced."""


class PartlyFailedError(FlowernoiseError):
    """Some runs of a sweep failed; the others are kept."""

    exit_code = ExitCode.PARTLY_FAILED


class GateMissedError(FlowernoiseError):
    """Everything was done, but the result is not as good or as complete as required."""

    exit_code = ExitCode.GATE_MISSED
