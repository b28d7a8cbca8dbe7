"""Saying which run a model's name stands for on this machine."""

import shlex
from functools import partial
from pathlib import Path

import typer

from diptych_api.diffusionmodel import ModelPointer, ModelVersion
from diptych_api.errors import UserError
from diptych_api.runstore import LOCAL_NAMESPACE
from diptych_api.sources import Output
from diptych_cli.artifact_files import fetch_artifact
from diptych_cli.promote_request import PromoteRequest
from diptych_cli.runs import record_of, report_of, shown
from diptych_cli.tracking import tell_promotion
from diptych_training.promotion import PERSON, change_pointer, pinned, read_pointer, unpinned, version_of
from diptych_training.run_store import RunStore


def promote_here(request: PromoteRequest, output: str) -> None:
    """Pin a model of this machine to a run, take the pin away, or tell its versions. Raises DiptychError."""
    anywhere = RunStore.open(Output(uri=output), LOCAL_NAMESPACE, "any", Path.cwd())
    pointer = read_pointer(anywhere, request.model)
    if not request.asks:
        typer.echo("\n".join(_versions(request.model, pointer)))
        return
    again = shlex.join(["diptych", "promote", request.model, "--output", output])
    request.check(f"Its versions: {again}")
    if request.unpin:
        after = change_pointer(anywhere, request.model, unpinned)
        typer.echo(request.told(None))
    else:
        version = _wanted(request, pointer, anywhere)
        after = change_pointer(anywhere, request.model, partial(pinned, version=version))
        typer.echo(request.told(version.run))
    if after.current is not None:
        if told := tell_promotion(anywhere.beside(after.current.run)):
            typer.echo(f"  {told}")
        place = shlex.quote(shown(anywhere.beside(after.current.run).uri()))
        typer.echo(f'next: diptych generate "red apple" --run {place}')


def _wanted(request: PromoteRequest, pointer: ModelPointer | None, anywhere: RunStore) -> ModelVersion:
    """Return the version that is meant, its files checked. Raises UserError, ArtifactInvalid."""
    run = request.run
    if run is None:
        if pointer is None or pointer.previous is None:
            raise UserError(f"{request.model} has no version before this one.")
        run = pointer.previous.run
    store = anywhere.beside(run)
    record, report = record_of(store), report_of(store)
    if record is None:
        raise UserError(
            f"There is no run {run} in {shown(anywhere.uri()).rpartition('/')[0]}.", hint="List them: diptych status"
        )
    fetch_artifact(store)
    known = {version.run: version for version in ([] if pointer is None else pointer.history)}
    return known.get(run) or version_of(store, record.name, [] if report is None else report.metrics, PERSON)


def _versions(model: str, pointer: ModelPointer | None) -> list[str]:
    if pointer is None or pointer.current is None:
        return [f"{model} stands for nothing yet.", "next: set spec.promotion.model of a job, or name a run"]
    current = f"{model} stands for {pointer.current.run}{', pinned' if pointer.pin else ''}."
    return [current, *(f"  {v.run}  {v.promoted_at:%Y-%m-%d %H:%M}  by {v.promoted_by}" for v in pointer.history)]
