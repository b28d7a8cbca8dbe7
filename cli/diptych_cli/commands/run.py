"""`diptych run`."""

from pathlib import Path
from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, JobFile, Overrides
from diptych_cli.command import examples

NAME = "run"
EXAMPLES = examples(
    ("diptych run examples/noto-style.yaml", "Trains, compares base and tuned, and leaves an adapter in runs/."),
    ("diptych run job.yaml --set training.steps=1000", "Another run, in a folder of its own."),
    ("diptych run job.yaml --address auto", "On the Ray cluster that this machine belongs to."),
    ("folder=$(diptych run job.yaml --quiet)", "Prints nothing but the run's folder."),
)


def command(
    job: JobFile,
    overrides: Overrides = None,
    *,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster: auto or ray://HOST:PORT. Without it, Ray starts here."),
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also copy the evaluation there: compare.png, loss.png, report.json.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the run's folder at the end, nothing else.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune as the YAML says, with live progress.

    The same command goes on where an earlier one ended: after Ctrl-C, after a crash, after a power cut.
    Ctrl-C saves a checkpoint first; a second Ctrl-C stops at once and loses the steps since the last checkpoint.
    """
    from diptych_cli.running import RunRequest, train  # noqa: PLC0415 - imports pydantic's models

    train(RunRequest(job, tuple(overrides or ()), address=address, evidence=evidence, quiet=quiet, as_json=as_json))
