"""The allocator: let freed arrays be used again.

A step of training allocates and frees the same arrays as the step before. By default glibc
returns the freed memory to the system each time and takes it back page by page, which can cost
more than the arithmetic. It stops doing so once it has seen a large block come and go: freeing
a mapped block raises its thresholds to that size (mallopt(3), M_MMAP_THRESHOLD). So one block,
never touched and freed at once, is all that is needed; on other systems it does nothing.
"""

from __future__ import annotations

import numpy as np

LARGEST = 32_000_000  # bytes; glibc raises its thresholds up to 32 MiB


def hold_freed_arrays() -> None:
    """Raise the size up to which freed memory is kept for the next step (about 64 MB in all)."""
    np.empty(LARGEST, np.uint8)
