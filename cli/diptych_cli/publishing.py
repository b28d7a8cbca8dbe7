"""Publishing a run that has finished."""

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from diptych_api.errors import UserError
from diptych_cli import phrases
from diptych_cli.run_spec import changed_spec
from diptych_cli.runs import find_run, report_of, shown
from diptych_training.places import localized
from diptych_training.promotion import read_pointer
from diptych_training.publishing.publish import publish, withheld
from diptych_training.run_store import RunStore


def publish_run(target: str, overrides: Sequence[str], *, dry_run: bool, anyway: bool) -> None:
    """Bring every place that the run names up to date, and say what came of each.

    Raises:
        UserError: when the run names no place, is not finished, or was not promoted.
        HubAuth, RetryLater, StoreUnwritable: as the place answers.

    """
    store = find_run(target)
    settings, report = localized(changed_spec(store, overrides), Path.cwd()).publish, report_of(store)
    if settings is None:
        hint = "Add --set publish.huggingFaceRepo=owner/name, or --set publish.uri=… (a folder, s3://, gs://, oci://)."
        raise UserError(f"{shown(store.uri())} names no spec.publish.", hint=hint)
    gate = report.gate if report else None
    reason = withheld(gate)
    if reason and not anyway and not _is_promoted(store, gate.model if gate else ""):
        raise UserError(reason, hint="diptych promote first, or --anyway.")
    dry_run = dry_run or settings.dry_run
    with store.lock():
        for done in publish(store, settings, os.environ, dry_run=dry_run):
            if dry_run:
                for item in done.plan.send:
                    typer.echo(f"  {item.name}  {phrases.size(item.size)}")
                for name in done.plan.remove:
                    typer.echo(f"  {name}  goes")
            typer.echo(f"{'·' if dry_run else '✓'} {done}")


def _is_promoted(store: RunStore, model: str) -> bool:
    """Whether somebody promoted the run after its gates had turned it down."""
    pointer = read_pointer(store, model)
    return pointer is not None and store.name in {version.run for version in pointer.history}
