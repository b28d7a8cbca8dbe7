"""What a run said: its phases and messages, the figures of each step, why it failed."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from pydantic import ValidationError

from diptych_api.errors import RunFailed
from diptych_api.report import Report
from diptych_api.runstore import LOG_FILE, METRICS_FILE
from diptych_cli import phrases
from diptych_cli.runs import find_run, is_going, report_of
from diptych_cli.story import Story
from diptych_cli.story_lines import Lines
from diptych_training.run_store import RunStore

POLL_S = 1.0


def print_log(target: str, overrides: Sequence[str], *, follow: bool, as_json: bool) -> None:
    """Print a run's log, and with `follow` go on until the run ends.

    Raises:
        RunFailed: when a line of the store is damaged.

    """
    log = Log(find_run(target, overrides), as_json=as_json)
    while True:
        going = follow and is_going(log.store, report_of(log.store))
        for line in log.new():
            typer.echo(line)
        if not going:
            break
        time.sleep(POLL_S)
    report = report_of(log.store)
    if report is not None and report.failure is not None and not as_json:
        typer.echo(f"failed: {report.failure.reason}: {report.failure.message}")
        typer.echo(f"hint:   {report.failure.hint}")


@dataclass
class Log:
    """The lines of a run's log files that were not printed yet."""

    store: RunStore
    as_json: bool
    told: int = 0
    measured: int = 0

    def __post_init__(self) -> None:
        """Set up the words for reports."""
        self.lines = Lines(Story(self.store.name))

    def new(self) -> Iterator[str]:
        """Yield what came since the last call: each step's figures after the reports that precede them."""
        reports = [(line, _report(line)) for line in self.store.read_lines(LOG_FILE)[self.told :]]
        rows = [(line, _row(line)) for line in self.store.read_lines(METRICS_FILE)[self.measured :]]
        self.told += len(reports)
        self.measured += len(rows)
        at = 0
        for line, row in rows:
            while at < len(reports) and reports[at][1].step < row["step"]:
                yield from self._words(*reports[at])
                at += 1
            yield line if self.as_json else _figures(row)
        for told in reports[at:]:
            yield from self._words(*told)

    def _words(self, line: str, report: Report) -> Iterator[str]:
        if self.as_json:
            yield line
        else:
            yield from self.lines.after(report)


def _report(line: str) -> Report:
    try:
        return Report.model_validate_json(line)
    except ValidationError as error:
        raise RunFailed(
            f"{LOG_FILE} holds a line that is no report: {line[:80]}", hint="The file is damaged."
        ) from error


def _row(line: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        return row | {"step": int(row["step"])}
    except (ValueError, TypeError, KeyError) as error:
        message = f"{METRICS_FILE} holds a line without figures: {line[:80]}"
        raise RunFailed(message, hint="The file is damaged.") from error


def _figures(row: dict[str, Any]) -> str:
    names = {"loss": "loss", "val_loss": "val", "grad_norm": "gradient", "learning_rate": "rate"}
    told = [f"{short} {phrases.loss(row[name])}" for name, short in names.items() if row.get(name) is not None]
    return f"step {row['step']:>6}  {'  '.join(told)}"
