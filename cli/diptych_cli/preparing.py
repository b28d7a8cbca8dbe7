"""Preparing the data set of a job by itself, and looking at what came of it."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress

from diptych_api.dataset import Image
from diptych_api.errors import Interrupted, UnsupportedHere, UserError
from diptych_api.finetunejob import FineTuneJob
from diptych_api.presets import resolve
from diptych_api.report import Report
from diptych_api.runstore import MANIFEST
from diptych_cli.job_file import read_job
from diptych_cli.runs import find_run, record_of, shown, store_of
from diptych_cli.signals import StopSignals
from diptych_diffusion.loading import loading
from diptych_training.places import localized
from diptych_training.run_store import RunStore
from diptych_training.supported import check_supported

LOOKING = "looking at pictures"
DOING = {"Captioning": "writing captions"}
SUMMARY, FACTS, SHEETS = "manifest.json", "preparation.json", ("preview.png", "duplicates.png")


def prepare(path: Path, overrides: Sequence[str], *, as_json: bool) -> None:
    """Prepare the data set of a job, unless that is done, and say what it came to. Raises DiptychError."""
    job = read_job(path, overrides)
    store = store_of(job)
    again = " ".join([str(path), *(f"--set {override}" for override in overrides)])
    if not store.exists(f"{MANIFEST}/{SUMMARY}"):
        try:
            _run(job, as_json=as_json)
        except Interrupted as error:
            raise Interrupted(error.message, hint=f"next: diptych data prepare {again}   (goes on)") from error
    told = facts_of(store)
    if as_json:
        typer.echo(json.dumps(told | {"folder": shown(store.uri(MANIFEST))}, ensure_ascii=False))
        return
    typer.echo("\n".join(lines(job.metadata.name, told)))
    typer.echo(f"folder: {shown(store.uri(MANIFEST))}")
    sheets = [f"open {shown(store.uri(MANIFEST, name))}" for name in SHEETS if store.exists(f"{MANIFEST}/{name}")]
    steps = [*sheets, f"diptych run {again}"]
    typer.echo("\n".join(f"{'next:' if index == 0 else '     '} {step}" for index, step in enumerate(steps)))


def preview(target: str, overrides: Sequence[str], pictures: int, output: Path) -> None:
    """Write a sheet of the pictures that a run learns from, with their captions. Raises DiptychError."""
    store = find_run(target, overrides)
    folder = store.local(MANIFEST)
    if folder is None:
        raise UnsupportedHere(f"{store.uri()} is not on a disk.", hint="Copy its manifest here first.")
    if not (folder / SUMMARY).is_file():
        raise UserError(f"{shown(store.uri())} has no data set yet.", hint="Prepare it: diptych data prepare JOB.yaml")
    with loading():
        from diptych_training.data.listing import read  # noqa: PLC0415 - imports pyarrow
        from diptych_training.data.sheets import preview as sheet  # noqa: PLC0415 - imports Pillow

    record = record_of(store)
    image = record.spec.dataset.image if record else Image()
    try:
        sheet(read(folder), image, pictures).save(output)
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot write {output}: {error}.", hint="Give a name that ends in .png or .jpg.") from error
    typer.echo(f"next: open {output}")


def pack(path: Path, overrides: Sequence[str], target: str | None, *, as_json: bool) -> None:
    """Pack the data set of a job into one archive, unless it is there, and say how to read it. Raises DiptychError."""
    job = read_job(path, overrides)
    store, given = store_of(job), resolve(job.spec)
    if target is not None:
        given = given.model_copy(update={"dataset": given.dataset.model_copy(update={"publish_to": target})})
        check_supported(given)
    if not store.exists(f"{MANIFEST}/{SUMMARY}"):
        _run(job, as_json=as_json)
    with loading():
        from diptych_training.packing import pack_run  # noqa: PLC0415 - imports Pillow and pyarrow

    with _bar(quiet=as_json) as tell:

        def on_progress(done: int, total: int) -> None:
            tell(Report(phase="Preparing", time=datetime.now(UTC), done=done, total=total))

        packed = pack_run(store, given, localized(given, Path.cwd()), job.metadata.name, on_progress)
    if as_json:
        typer.echo(json.dumps(asdict(packed)))
        return
    done = "packed" if packed.made else "was there already"
    typer.echo(f"✓ {packed.pictures:,} pictures {done}: {shown(packed.uri)} ({packed.bytes / 1e6:,.1f} MB)")
    typer.echo(f"  to train on it: source: {{uri: {shown(packed.uri)}, sha256: {packed.sha256}}}, layout: ImageFolder,")
    typer.echo("  where: {split: train}")


def facts_of(store: RunStore) -> dict[str, Any]:
    """Return what is told of a prepared data set; of one that an earlier version prepared, the counts alone."""
    told = store.read_bytes(f"{MANIFEST}/{FACTS}")
    if told is not None:
        return dict(json.loads(told))
    counts = json.loads(store.read_bytes(f"{MANIFEST}/{SUMMARY}") or b"{}")
    return {
        "training": counts.get("train"),
        "heldOut": counts.get("validation"),
        "unusable": counts.get("rejected"),
        "leftOut": {},
    }


def lines(name: str, told: dict[str, Any]) -> Iterator[str]:
    """Yield what came of the pictures."""
    yield f"✓ {name}: {told['training']:,} pictures to train on, {told['heldOut']:,} held out"
    if left_out := [f"{rule} {count:,}" for rule, count in told["leftOut"].items()]:
        yield f"  left out as asked: {', '.join(left_out)} (dropped.jsonl)"
    if told["unusable"]:
        yield f"  could not be used: {told['unusable']:,} (rejected.jsonl)"


def _run(job: FineTuneJob, *, as_json: bool) -> None:
    with loading():
        from diptych_training.run import RunOptions, run  # noqa: PLC0415 - takes seconds: PyTorch and Ray

    with _bar(quiet=as_json) as tell, StopSignals(lambda: None, lambda: None) as signals:

        def on_report(report: Report) -> None:
            signals.install()
            tell(report)

        run(job, RunOptions(base_dir=Path.cwd(), prepare_only=True), on_report, signals.stop)


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[Report], None]]:
    """Show on stderr how many pictures were looked at or described, on a terminal, and what a run has to say."""
    console, said = Console(file=sys.stderr, quiet=quiet), set[str]()
    with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task(LOOKING, total=None)

        def tell(report: Report) -> None:
            progress.update(
                task,
                description=DOING.get(report.phase, LOOKING),
                completed=report.done or 0,
                total=report.total or None,
            )
            if report.phase != "Suspended" and report.message and report.message not in said:
                said.add(report.message)
                console.print(report.message, markup=False, highlight=False)

        yield tell
