"""A story as a terminal shows it: header, phases, progress bar, closing table."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from diptych_api.report import MetricValue, Report
from diptych_cli import phrases
from diptych_cli.story import Story

NAME_WIDTH = 8
BAR_WIDTH = 24
SHORT_BAR = 10
UNTOLD = "see the report"
STOPPING = "stopping: saving a checkpoint first · Ctrl-C again stops at once"


def render(story: Story, *, stopping: bool = False) -> Group:
    """Return the whole view of a run so far."""
    parts: list[RenderableType] = [Text(story.headline, style="bold")]
    parts += [Text(note, style="dim") for note in story.notes]
    if story.done:
        parts.append(Text("   ".join(map(_done, story.done))))
    if story.current is not None:
        parts.append(_Going(story.current))
    elif story.latest is None or story.latest.phase == "Pending":
        parts.append(Text("starting Ray and PyTorch …", style="dim"))
    elif story.latest.phase == "Succeeded":
        parts.append(_succeeded(story, story.latest))
    if stopping:
        parts.append(Text(STOPPING, style="yellow"))
    return Group(*parts)


def closing(story: Story) -> Table | None:
    """Return the table of base and tuned; None when a run left no figures."""
    report = story.latest
    if report is None or report.phase != "Succeeded":
        return None
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "base", "tuned", "change"):
        table.add_column(column, justify="left" if not column else "right")
    for m in _measured(report):
        change = "" if m.unit == "share" else _change(m.base, m.tuned)
        tuned = UNTOLD if m.base is None and m.tuned is None else phrases.metric(m.tuned, m)
        table.add_row(phrases.spaced(m.name), phrases.metric(m.base, m), tuned, change)
    if report.artifact is not None:
        table.add_row("trainable parameters", "", f"{report.artifact.trainable_parameters:,}", "")
    if story.seconds is not None:
        table.add_row("seconds", "", f"{story.seconds:,.0f}", "")
    return table if table.row_count else None


def _measured(report: Report) -> list[MetricValue]:
    """Return the figures of the evaluation; without one, the validation loss that training saw."""
    if any(m.name == "ValidationLoss" for m in report.metrics) or report.first_val_loss is None:
        return report.metrics
    tuned = report.val_loss if report.best_val_loss is None else report.best_val_loss
    return [MetricValue(name="ValidationLoss", base=report.first_val_loss, tuned=tuned), *report.metrics]


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None or before == 0:
        return ""
    percent = round(100 * (after - before) / abs(before))
    return f"{percent:+} %".replace("-", "−") if percent else "0 %"


def _done(report: Report) -> str:
    return f"{phrases.phase_name(report)} ✓ {phrases.phase_done(report)}".rstrip()


@dataclass(frozen=True, slots=True)
class _Going:
    """A phase's name, bar and figures: on one line where there is room, else the figures below the bar."""

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        report, figures = self.report, phrases.phase_going(self.report)
        name = f"{phrases.phase_name(report):<{NAME_WIDTH}}"
        done, total = (report.step, report.total_steps) if report.phase == "Training" else (report.done, report.total)
        room = options.max_width - NAME_WIDTH - len(figures) - 2
        if not total:
            yield Text(f"{name} {figures}")
            return
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=total, completed=done, width=BAR_WIDTH if room < SHORT_BAR else min(BAR_WIDTH, room))
        row.add_row(name, bar, figures if room >= SHORT_BAR else "")
        yield row
        if room < SHORT_BAR:
            yield Text(f"{'':<{NAME_WIDTH}} {figures}")


def _succeeded(story: Story, report: Report) -> Text:
    time = f" in {phrases.clock(story.training_seconds)}" if story.training_seconds is not None else ""
    told: Iterable[str] = filter(None, (f"trained{time}", phrases.finished(report)))
    return Text(f"✓ {' · '.join(told)}", style="green")
