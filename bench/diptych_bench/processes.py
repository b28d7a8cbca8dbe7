"""What processes cost: seconds of CPU and bytes of memory, of whole trees. Ticks are 10 ms."""

from collections.abc import Iterable

import psutil


def tree(root: int) -> list[psutil.Process]:
    """Return a process and everything below it."""
    process = psutil.Process(root)
    return [process, *process.children(recursive=True)]


def named(root: int, words: str) -> list[psutil.Process]:
    """Return the processes below ``root`` whose command line holds ``words``."""
    return [process for process in tree(root) if words in _command(process)]


def cpu_seconds(processes: Iterable[psutil.Process]) -> dict[int, float]:
    """Return user and system time of each process by its id; those that have ended are left out."""
    found = {}
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        found[process.pid] = times.user + times.system
    return found


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    """Return the memory that the processes hold, shared pages counted in each."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
