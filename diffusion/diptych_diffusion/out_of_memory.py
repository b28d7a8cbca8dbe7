"""Telling memory that ran out from other errors, and doing the same in smaller pieces."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import torch

ALLOCATOR: Final = "DefaultCPUAllocator"
"""PyTorch's name in the error of an allocation on the CPU, which has no type of its own."""
MPS: Final = "MPS backend out of memory"
Result = TypeVar("Result")
_log = logging.getLogger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had too little memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error) for name in (ALLOCATOR, MPS))


def in_pieces(at_once: int, attempt: Callable[[int], Result], what: str) -> tuple[Result, int]:
    """Return what an attempt with so many rows at once gives, and the rows: half as many whenever memory runs out.

    Raises what one row at once raises.
    """
    while True:
        try:
            return attempt(at_once), at_once
        except Exception as error:
            if at_once <= 1 or not is_out_of_memory(error):
                raise
        torch.accelerator.empty_cache()  # here, where no traceback keeps tensors alive
        at_once //= 2
        _log.warning("Memory ran out with %s: %d at once are tried.", what, at_once)
