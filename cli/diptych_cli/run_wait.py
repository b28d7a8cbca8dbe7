"""`diptych wait` for a run of this machine."""

import time
from collections.abc import Sequence
from typing import Final

import typer

from diptych_api.errors import RetryLater, RunFailed
from diptych_cli.runs import find_run, is_going, report_of, shown

POLL_S: Final = 1.0


def wait_for_run(target: str, overrides: Sequence[str], timeout_s: float | None) -> None:
    """Wait until a run has succeeded.

    Raises:
        RunFailed: when nobody works on it any more and it has not.
        RetryLater: when the time is over.

    """
    store = find_run(target, overrides)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while is_going(store, report := report_of(store)):
        if deadline is not None and time.monotonic() >= deadline:
            raise RetryLater(f"{store.name} has not succeeded after {timeout_s:g} s.", hint="Wait again.")
        time.sleep(POLL_S)
    if report is None or report.phase != "Succeeded":
        failure = None if report is None else report.failure
        why = f"{failure.reason}: {failure.message}" if failure else f"it stopped ({report.phase if report else '?'})"
        hint = failure.hint if failure else f"See diptych status {shown(store.uri())}"
        raise RunFailed(f"{store.name} has not succeeded: {why}", hint=hint)
    typer.echo(f"✓ {store.name} has succeeded.")
