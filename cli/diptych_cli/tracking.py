"""Telling MLflow of a run that has ended, or that was stopped."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import typer

from diptych_api.errors import RetryLater, UserError
from diptych_cli.evaluating import changed_spec
from diptych_cli.runs import find_run, report_of, shown
from diptych_training.places import localized
from diptych_training.supported import check_supported
from diptych_training.tracking.delivery import Delivery
from diptych_training.tracking.place import TrackingAwayError, place_of


def track(target: str, overrides: Sequence[str]) -> None:
    """Bring MLflow up to date and say what it has.

    Raises:
        UserError: when the run names no place, or has told nothing yet.
        RetryLater: when the place is away, or another process has the run.

    """
    store = find_run(target)
    spec, report = changed_spec(store, overrides), report_of(store)
    check_supported(spec)
    tracking = localized(spec, Path.cwd()).tracking
    if tracking is None or report is None:
        what = "names no spec.tracking" if report else "has no report yet"
        raise UserError(f"{shown(store.uri())} {what}.", hint="Add --set tracking.uri=http://… or a folder.")
    with closing(place_of(tracking, os.environ)) as place, store.lock():
        delivery = Delivery(store, tracking, place)
        try:
            delivery.bring(report)
        except TrackingAwayError as error:
            raise RetryLater(str(error), hint="The same command goes on where this one came to.") from error
    sent = delivery.sent
    if sent is None:
        typer.echo(f"✓ {tracking.uri} has everything already")
        return
    version = f" · version {sent.version} of the model" if sent.version else ""
    typer.echo(f"✓ {sent.lines} lines of figures and {len(sent.files)} files are in {tracking.uri}{version}")
