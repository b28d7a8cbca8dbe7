"""Loading PyTorch and what stands on it in less time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import large libraries in the body without garbage collections, and keep their objects out of later ones.

    They make a million objects that stay. Looking at all of these again and again takes a third of the time that they
    need to load, and later a good part of a second at every full collection.
    """
    before, enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if enabled:
            gc.enable()
