"""What a process does with memory that it has given up."""

import ctypes

__all__ = ["keep_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT, SMALL = 2**29, 2**25  # bytes that stay with the process; arrays that come from them, at most


def keep_memory() -> bool:
    """Let freed memory serve the next array, where the C library is glibc; elsewhere nothing changes. Whether it is.

    By itself glibc hands megabytes back to the system and asks for them again at every step, which a virtual machine pays for
    page by page: a tenth of a sampler's time, and more with many exposures.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or none that can be asked
        return False
    mallopt(TRIM_THRESHOLD, KEPT)
    mallopt(MMAP_THRESHOLD, SMALL)
    return True
