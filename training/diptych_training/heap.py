"""Keeps pages that the C heap has freed, where the step runs on a CPU.

By default glibc gives much of what a step frees back to the kernel, and asks for zeroed pages in the next (mallopt(3)).
"""

import ctypes
import sys
from typing import Final

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""As malloc.h has them."""
LARGEST: Final = 2**31 - 1
LARGEST_BLOCK: Final = 2**25
"""Larger ones go back at once: more is refused by some versions."""


def keep_pages() -> bool:
    """Have freed memory stay with this process from now on; return whether this machine's C library knows how."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST_BLOCK) and mallopt(TRIM_THRESHOLD, LARGEST))
