"""Publishing a run that has finished."""

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from diptych_api.errors import UserError
from diptych_cli import phrases
from diptych_cli.evaluating import changed_spec
from diptych_cli.runs import find_run, report_of, shown
from diptych_training.places import localized
from diptych_training.publishing.publish import publish, withheld


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
    reason = withheld(report.gate if report else None)
    if reason and not anyway:
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
