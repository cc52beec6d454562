"""Makes a child process of root respect file permissions; it keeps its own files."""

import ctypes
import os

import pytest

DROP_FROM_BOUNDING_SET = 24  # prctl(2)
OVERRIDE, READ_AND_SEARCH = 1, 2  # capabilities(7): CAP_DAC_…


def drop_privileges() -> None:
    """For ``preexec_fn``: from here on, file permissions apply to root as well."""
    if os.geteuid() == 0:
        library = ctypes.CDLL(None, use_errno=True)
        for capability in (OVERRIDE, READ_AND_SEARCH):
            if library.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "cannot drop a capability")


def may_drop() -> bool:
    """Whether a child can be made to respect permissions."""
    child = os.fork()
    if not child:
        try:
            drop_privileges()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


heeds_permissions = pytest.mark.skipif(not may_drop(), reason="root, and may not drop capabilities")
