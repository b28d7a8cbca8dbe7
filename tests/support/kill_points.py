"""Children that are killed -9 at a chosen line of the code under test, so that no moment is left to chance."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch

LIMIT = 5000

# Whoever exports a graph would have torch pretend a GPU from then on; autograd then keeps a thread that no fork has.
torch._C._ensureCUDADeviceGuardSet = lambda: None


def fork(body: Callable[[], object]) -> int:
    """Start a child that runs ``body`` and ends; return its process id. The child's status is 1 when body raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of threads; the bodies start no parallel torch
        pid = os.fork()
    if pid:
        return pid
    try:
        body()
        os._exit(0)
    except BaseException:  # noqa: BLE001 -- nothing may reach the parent's code, SystemExit and failed asserts included
        traceback.print_exc()
    finally:
        os._exit(1)


def finished(pid: int) -> bool:
    """Wait for a child; return whether it came to its end, not killed. Raises AssertionError when its body raised."""
    _, status = os.waitpid(pid, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the child raised; its traceback is on stderr"
    return os.WIFEXITED(status)


def kill_points(body: Callable[[int], object], *files: str, stride: int = 1) -> Iterator[int]:
    """Yield n after a child was killed at the n-th line it ran in source files whose path contains one of ``files``.

    ``body`` runs in the child and gets n. The last n is that of the child that nobody killed.
    """
    for count in range(1, LIMIT, stride):
        survived = finished(fork(lambda count=count: _run(body, files, count)))  # type: ignore[misc] # late binding
        yield count
        if survived:
            return
    raise AssertionError(f"the body has more than {LIMIT} lines")


def _run(body: Callable[[int], object], files: tuple[str, ...], count: int) -> None:
    left = count

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if not any(part in frame.f_code.co_filename for part in files):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    body(count)
    sys.settrace(None)
