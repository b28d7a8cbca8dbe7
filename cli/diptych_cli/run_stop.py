"""Stopping a run of this machine from outside: the process that holds its lock is asked, as by Ctrl-C."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer

from diptych_api.errors import RetryLater, UserError
from diptych_cli.runs import find_run, report_of, shown
from diptych_training.run_store import RunStore
from diptych_training.run_store_lock import lock_holder

PATIENCE_S: Final = 600.0
POLL_S: Final = 0.2


def stop_run(target: str, overrides: Sequence[str]) -> None:
    """Ask the process that works on a run to save and stop, and wait until it did.

    Raises:
        UserError: when nobody works on it here.
        RetryLater: when the process goes on for ten minutes more.

    """
    store = find_run(target, overrides)
    process = _holder(store)
    os.kill(process, signal.SIGTERM)
    typer.echo(f"asked process {process}: it saves a checkpoint first …")
    deadline = time.monotonic() + PATIENCE_S
    while _lock_holder(store) == process:
        if time.monotonic() > deadline:
            raise RetryLater(f"Process {process} still works on {shown(store.uri())}.", hint=f"kill -9 {process}")
        time.sleep(POLL_S)
    report = report_of(store)
    if report is not None:
        saved = f", saved at step {report.checkpoint.step}" if report.checkpoint else ""
        typer.echo(f"✓ {report.phase}{saved}")
    typer.echo("next: the command that started it goes on from there")


def _holder(store: RunStore) -> int:
    """Return the process of ours that works on a run. Raises UserError."""
    process = _lock_holder(store)
    if process is None:
        raise UserError(
            f"No process of this machine works on {shown(store.uri())}.",
            hint=f"How far it is: diptych status {shown(store.uri())}",
        )
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        command = b""
    if b"diptych" not in command:
        raise UserError(
            f"The process {process} that holds {shown(store.uri())} is not one of this machine's.",
            hint="Stop it where it was started: its folder is shared with another machine.",
        )
    return process


def _lock_holder(store: RunStore) -> int | None:
    """Return the process of this machine that has a run."""
    if folder := store.local():
        return lock_holder(folder)
    lease = store.leaseholder()
    return lease.process if lease is not None and lease.is_here else None
