"""Running a job: signals, progress, and what to do next."""

import shlex
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import typer
from rich.console import Console

from diptych_api.errors import Interrupted, SpecInvalid
from diptych_api.finetunejob import FineTuneJob
from diptych_api.report import Report
from diptych_api.runstore import EVALUATION
from diptych_cli.job_file import headline, read_job
from diptych_cli.runs import shown
from diptych_cli.signals import StopSignals
from diptych_cli.story import Story
from diptych_cli.story_lines import Lines
from diptych_cli.story_view import closing
from diptych_cli.tellers import JsonLines, LiveView, PlainLines, Silent, Teller
from diptych_diffusion.loading import loading


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What `diptych run` was asked for."""

    path: Path
    overrides: tuple[str, ...] = ()
    address: str | None = None
    evidence: Path | None = None
    quiet: bool = False
    as_json: bool = False

    @property
    def again(self) -> str:
        """The command that goes on with the same run."""
        return shlex.join(["diptych", "run", str(self.path), *(x for o in self.overrides for x in ("--set", o))])


class Runner(Protocol):
    """Runs a job, tells its reports, and returns the folder of the run."""

    def __call__(
        self, job: FineTuneJob, request: RunRequest, on_report: Callable[[Report], None], stop: threading.Event
    ) -> str:
        """Run to the end. Raises DiptychError."""


def run_with_ray(
    job: FineTuneJob, request: RunRequest, on_report: Callable[[Report], None], stop: threading.Event
) -> str:
    """Run the training program in this process."""
    with loading():
        from diptych_training.run import RunOptions, run  # noqa: PLC0415 - takes seconds: PyTorch and Ray

    options = RunOptions(base_dir=Path.cwd(), address=request.address)
    return str(run(job, options, on_report, stop).folder)


def train(request: RunRequest, runner: Runner = run_with_ray) -> None:
    """Run a job to its end and say what it came to.

    Raises:
        DiptychError: whatever ended the run.

    """
    if request.quiet and request.as_json:
        raise SpecInvalid("--quiet and --json exclude each other.", hint="Use one of them.")
    job = read_job(request.path, request.overrides)
    story = Story(headline(job))
    console = Console()
    with _teller(request, story, console) as teller, StopSignals(teller.stopping, teller.abort) as signals:

        def on_report(report: Report) -> None:
            nonlocal story
            signals.install()
            story = story.after(report)
            teller.tell(report)

        try:
            folder = runner(job, request, on_report, signals.stop)
        except Interrupted as error:
            raise Interrupted(error.message, hint=f"next: {request.again}   (goes on from there)") from error
    copied = _copy_evidence(folder, request.evidence) if request.evidence else None
    if request.quiet:
        typer.echo(shown(folder))
    elif not request.as_json:
        _close(console, story, folder, copied, _export_form(job))


def _teller(request: RunRequest, story: Story, console: Console) -> Teller:
    if request.as_json:
        return JsonLines()
    if request.quiet:
        return Silent()
    return LiveView(story, console) if console.is_terminal else PlainLines(Lines(story))


def _copy_evidence(folder: str, target: Path) -> Path | None:
    """Copy the evaluation to a folder; return the comparison, if there is one."""
    source = Path(shown(folder)) / EVALUATION
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    compare = target / "compare.png"
    return compare if compare.is_file() else None


def _export_form(job: FineTuneJob) -> str:
    """Return the options that export what the job makes: an adapter as one file, a whole model as a folder."""
    name = job.metadata.name
    if job.spec.effective_method == "LoRA":
        return f"--format kohya -o {name}.safetensors"
    return f"--format pipeline -o {name}"


def _close(console: Console, story: Story, folder: str, copied: Path | None, export_form: str) -> None:
    """Print the figures and the next useful commands."""
    table = closing(story)
    if table is not None:
        console.print(table)
    run = shown(folder)
    compare, page = copied or Path(run) / EVALUATION / "compare.png", Path(run) / EVALUATION / "report.html"
    typer.echo(f"folder: {run}")
    steps = [f"open {path}" for path in (page, compare) if path.is_file()]
    steps += [f'diptych generate "red apple" --run {shlex.quote(run)}']
    steps += [f"diptych export {shlex.quote(run)} {export_form}"]
    typer.echo("\n".join(f"{'next:' if index == 0 else '     '} {step}" for index, step in enumerate(steps)))
