"""A story as a terminal shows it: header, phases, progress bar, closing table."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from diptych_api.report import Report
from diptych_cli import phrases
from diptych_cli.story import NAMES, Story

BAR_WIDTH = 24
STOPPING = "stopping: saving a checkpoint first · Ctrl-C again stops at once"


def render(story: Story, *, stopping: bool = False) -> Group:
    """Return the whole view of a run so far."""
    parts: list[RenderableType] = [Text(story.headline, style="bold")]
    parts += [Text(note, style="dim") for note in story.notes]
    if done := [_done(last) for first, last in story.phases[:-1] if first.phase in NAMES]:
        parts.append(Text("   ".join(done)))
    if story.latest is None:
        parts.append(Text("starting Ray and PyTorch …", style="dim"))
    elif story.latest.phase in NAMES:
        parts.append(_going(story.latest))
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
    measured = [m for m in report.metrics if m.name != "ValidationLoss"]
    if report.first_val_loss is not None:
        tuned = report.best_val_loss if report.best_val_loss is not None else report.val_loss
        first = phrases.loss(report.first_val_loss)
        table.add_row("validation loss", first, phrases.loss(tuned), _change(report.first_val_loss, tuned))
    for m in measured:
        change = "" if m.unit == "%" else _change(m.base, m.tuned)
        table.add_row(phrases.spaced(m.name), phrases.metric(m.base, m), phrases.metric(m.tuned, m), change)
    if report.artifact is not None:
        table.add_row("trainable parameters", "", f"{report.artifact.trainable_parameters:,}", "")
    if story.seconds is not None:
        table.add_row("seconds", "", f"{story.seconds:,.0f}", "")
    return table if table.row_count else None


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None or before == 0:
        return ""
    return f"{100 * (after - before) / abs(before):+.0f} %".replace("-", "−")


def _done(report: Report) -> str:
    return f"{phrases.phase_name(report)} ✓ {phrases.phase_done(report)}".rstrip()


def _going(report: Report) -> RenderableType:
    done, total = (report.step, report.total_steps) if report.phase == "Training" else (report.done, report.total)
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=total or 1, completed=done, width=BAR_WIDTH)
    row.add_row(Text(f"{phrases.phase_name(report):<8}"), bar, Text(phrases.phase_going(report)))
    return row


def _succeeded(story: Story, report: Report) -> Text:
    time = f" in {phrases.clock(story.training_seconds)}" if story.training_seconds is not None else ""
    told: Iterable[str] = filter(None, (f"trained{time}", phrases.finished(report)))
    return Text(f"✓ {' · '.join(told)}", style="green")
