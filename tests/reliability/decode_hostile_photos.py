"""Decodes every kind of hostile photo and prints one JSON line for each: seconds, extra megabytes, reason for refusal.

Memory is this process's peak above its memory before each kind; the peak is reset each time.
"""

import ctypes
import gc
import json
import time
from pathlib import Path

from flowernoise.safe.images import UnreadablePhotoError, decode
from tests.reliability.hostile_photos import all_kinds, saved, small

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def megabytes(field: str) -> float:
    """A figure of this process, such as VmHWM, its peak."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1000


def main() -> None:
    """As above."""
    for form in ("JPEG", "PNG", "WEBP", "BMP"):  # what any photo costs
        decode(saved(small(), form), 224)
    for name, _, make in all_kinds():
        data = make()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        RESET.write_text("5")
        before, start, reason = megabytes("VmRSS"), time.monotonic(), None
        try:
            decode(data, 224)
        except UnreadablePhotoError as error:
            reason = str(error)
        seconds = time.monotonic() - start
        print(json.dumps([name, seconds, megabytes("VmHWM") - before, reason]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
