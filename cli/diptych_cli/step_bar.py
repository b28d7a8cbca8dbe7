"""A bar for the steps of a picture."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def step_bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show steps on stderr while the body runs, on a terminal."""
    console = Console(file=sys.stderr)
    with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("drawing", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
