"""Telling MLflow of a run that has ended, or that was stopped."""

import os
import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import typer

from diptych_api.after import Tracking
from diptych_api.errors import DiptychError, RetryLater, UserError
from diptych_api.report import Report
from diptych_cli.run_spec import changed_spec
from diptych_cli.runs import find_run, report_of, shown
from diptych_training.places import localized
from diptych_training.run_store import RunStore
from diptych_training.supported import check_supported
from diptych_training.tracking.delivery import Delivery, Sent
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
    sent = _bring(store, tracking, report)
    if sent is None:
        typer.echo(f"✓ {tracking.uri} has everything already")
        return
    version = f" · version {sent.version} of the model" if sent.version else ""
    typer.echo(f"✓ {sent.lines} lines of figures and {len(sent.files)} files are in {tracking.uri}{version}")


def tell_promotion(store: RunStore) -> str | None:
    """Tell MLflow that a model stands for a run now; return a sentence on it, None where the run is not tracked."""
    try:
        report, tracking = report_of(store), localized(changed_spec(store, ()), Path.cwd()).tracking
        if tracking is None or report is None:
            return None
        sent = _bring(store, tracking, report)
    except Exception as error:  # noqa: BLE001 - whatever it is, the model stands for the run
        why = error.message if isinstance(error, DiptychError) else f"{type(error).__name__}: {error}"
        return f"MLflow was not told: {why} Later: diptych track {shlex.quote(shown(store.uri()))}"
    return f"{tracking.uri} calls it champion." if sent is not None and sent.version is not None else None


def _bring(store: RunStore, tracking: Tracking, report: Report) -> Sent | None:
    """Tell the place what it lacks and return what it has; None where it had everything. Raises RetryLater."""
    with closing(place_of(tracking, os.environ)) as place, store.lock():
        delivery = Delivery(store, tracking, place)
        try:
            delivery.bring(report)
        except TrackingAwayError as error:
            raise RetryLater(str(error), hint="The same command goes on where this one came to.") from error
    return delivery.sent
