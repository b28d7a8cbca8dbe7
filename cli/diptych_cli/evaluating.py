"""Evaluating a run that is finished, on this machine."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from diptych_api.evaluation_report import EvaluationReport, MetricResult
from diptych_api.runstore import EVALUATION
from diptych_cli import phrases
from diptych_cli.run_spec import changed_spec
from diptych_cli.runs import find_run, shown
from diptych_cli.tracking import tell_promotion
from diptych_diffusion.loading import loading
from diptych_training.letters import PhaseProgress

VERDICTS = {"Better": "✓ tuned is better", "Worse": "✗ tuned is worse", "NotSure": "? not sure which is better"}


def evaluate(target: str, overrides: Sequence[str], *, as_json: bool) -> None:
    """Evaluate a run and say what came of it. Raises DiptychError."""
    store = find_run(target)
    spec = changed_spec(store, overrides)
    with loading():
        from diptych_training.evaluate_run import evaluate_run  # noqa: PLC0415 - takes seconds: PyTorch

    with _bar(quiet=as_json) as tell:
        report = evaluate_run(store, spec, Path.cwd(), tell)
    promoted = report.gate is not None and report.gate.outcome == "Promoted"
    told = tell_promotion(store) if promoted else None
    if as_json:
        typer.echo(report.model_dump_json(by_alias=True))
        return
    typer.echo("\n".join([*lines(report), *([f"  {told}"] if told else [])]))
    typer.echo(f"next: open {shown(store.uri(EVALUATION, 'report.html'))}")


def lines(report: EvaluationReport) -> Iterator[str]:
    """Yield verdict, figures and decision."""
    yield f"{VERDICTS[report.verdict]} · {len(report.pairs)} prompts · seed {report.seed}"
    yield from (_figures(metric) for metric in report.metrics)
    if report.gate is not None:
        titles = {"Promoted": "✓ promoted to", "Offered": "✓ offered to", "NotPromoted": "✗ not promoted to"}
        yield f"{titles[report.gate.outcome]} {report.gate.model}. {report.gate.reason}"


def _figures(metric: MetricResult) -> str:
    name = f"  {phrases.spaced(metric.name):<20}"
    if metric.tuned is None:
        return f"{name} –  {metric.warning}"
    before = "" if metric.base is None else f"{metric.base:#.3g} → "
    interval = metric.interval
    sure = "" if interval is None else f"  change {interval.low:+.3g} to {interval.high:+.3g}".replace("-", "−")
    return f"{name} {before}{metric.tuned:#.3g}{sure}  n {metric.n}{f'  {metric.warning}' if metric.warning else ''}"


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[PhaseProgress], bool]]:
    """Show on stderr how many pictures are drawn while the body runs, on a terminal."""
    console = Console(file=sys.stderr)
    with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("loading", total=None)

        def tell(letter: PhaseProgress) -> bool:
            progress.update(task, description="drawing", completed=letter.done, total=letter.total or None)
            return False

        yield tell
