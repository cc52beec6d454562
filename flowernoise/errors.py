"""What can go wrong, as exceptions that know their exit code.

Every error a user can cause or meet is one of these; the command line prints it as one line, ``error: …``, that
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
    """A stored file is not what was written: wrong digest, not as declared, missing, no file of its own."""


class OtherVersionError(FlowernoiseError):
    """A stored file has a schema that this version does not know: not ours to read, nor to replace."""


class PartlyFailedError(FlowernoiseError):
    """Some runs of a sweep failed; the rest is kept."""

    exit_code = ExitCode.PARTLY_FAILED


class GateMissedError(FlowernoiseError):
    """All was done, but what was found is not as good or as complete as asked."""

    exit_code = ExitCode.GATE_MISSED
