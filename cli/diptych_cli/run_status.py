"""How far runs are."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from diptych_api.report import Report
from diptych_api.sources import Output
from diptych_cli import phrases
from diptych_cli.runs import ENDED, find_run, is_going, record_of, report_of, shown
from diptych_cli.story import NAMES, Story
from diptych_cli.story_view import closing, render
from diptych_training.run_store import RunStore, runs


def show_run(target: str, overrides: Sequence[str], *, as_json: bool) -> None:
    """Print the state of one run."""
    store = find_run(target, overrides)
    report = report_of(store)
    going = is_going(store, report)
    if as_json:
        typer.echo(json.dumps(_told(store, report, going=going), ensure_ascii=False))
        return
    console = Console()
    reports = [] if report is None else [report]
    story = Story.of(store.name, reports)
    console.print(render(story))
    if (table := closing(story)) is not None:
        console.print(table)
    for line in _state(store, report, going=going):
        typer.echo(line)


def list_runs(output: str, *, as_json: bool) -> None:
    """Print a line for every run below an output."""
    stores = runs(Output(uri=output), Path.cwd())
    states = [(store, report_of(store)) for store in stores]
    if as_json:
        told = [_told(store, report, going=is_going(store, report)) for store, report in states]
        typer.echo(json.dumps({"runs": told}, ensure_ascii=False))
        return
    if not states:
        typer.echo(f"No runs below {output}.\nnext: diptych run JOB.yaml")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("RUN", "PHASE", "STEP", "LOSS", "VAL", "WAS", "AGE"):
        table.add_column(column, justify="right" if column in {"STEP", "LOSS", "VAL", "WAS", "AGE"} else "left")
    for store, report in states:
        table.add_row(*_row(store, report))
    Console().print(table)
    typer.echo(f"next: diptych status {shown(stores[-1].uri())}")


def _row(store: RunStore, report: Report | None) -> list[str]:
    if report is None:
        return [store.name, "begun", "", "", "", "", ""]
    step = f"{report.step}/{report.total_steps}" if report.total_steps else ""
    losses = [phrases.loss(value) for value in (report.loss, report.val_loss, report.first_val_loss)]
    phase = _phase(report, going=is_going(store, report))
    return [store.name, phase, step, *losses, phrases.age(report.time, datetime.now(UTC))]


def _phase(report: Report, *, going: bool) -> str:
    return report.phase if going or report.phase in ENDED else f"{report.phase} (stopped)"


def _told(store: RunStore, report: Report | None, *, going: bool) -> dict[str, Any]:
    plain = None if report is None else report.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"run": store.name, "folder": shown(store.uri()), "running": going, "report": plain}


def _spent(report: Report) -> list[str]:
    """Return what the run took so far: time by phase, memory, and what held training up."""
    seconds = {phase.name: phase.seconds for phase in report.phases}
    told = [f"{name} {phrases.clock(seconds[phase])}" for phase, name in NAMES.items() if seconds.get(phase, 0) >= 1]
    peaks = [("", report.peak_memory_bytes), ("GPU ", report.peak_gpu_memory_bytes)]
    memory = ", ".join(f"{kind}{phrases.size(peak)}" for kind, peak in peaks if peak)
    lines = [("time:   ", ", ".join(told)), ("memory: ", memory), ("most:   ", report.bottleneck)]
    return [title + text for title, text in lines if text]


def _state(store: RunStore, report: Report | None, *, going: bool) -> list[str]:
    lines = [f"folder: {shown(store.uri())}"]
    if report is None:
        return [*lines, "No report yet."]
    said = f"{_phase(report, going=going)}, said {phrases.age(report.time, datetime.now(UTC))} ago"
    lines.append(f"state:  {said}" + (f", attempt {report.attempt}" if report.attempt > 1 else ""))
    if report.failure is not None:
        lines.append(f"reason: {report.failure.reason}: {report.failure.message}")
        lines += [f"hint:   {report.failure.hint}"] if report.failure.hint else []
    if report.checkpoint is not None:
        lines.append(f"saved:  step {report.checkpoint.step}, {shown(report.checkpoint.uri)}")
    if report.samples:
        lines.append(f"drawn:  step {report.samples[-1].step}, {shown(report.samples[-1].uri)}")
    lines += _spent(report)
    if report.phase in NAMES and not going:
        lines.append("No process works on it. The command that started it goes on from the last checkpoint.")
    record = record_of(store)
    if record is not None:
        lines.append(f"begun:  {record.created:%Y-%m-%d %H:%M} UTC")
    return lines
