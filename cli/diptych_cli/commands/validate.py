"""`diptych validate`."""

from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, JobFile, Overrides
from diptych_cli.command import examples

NAME = "validate"
EXAMPLES = examples(
    ("diptych validate job.yaml", "Says what would run, or every mistake with its line."),
    (
        "diptych validate job.yaml --set lora.rank=32 --set training.steps=2000",
        "Checks the job with two fields changed.",
    ),
    ("diptych validate job.yaml --deep", "Builds the networks without weights, and looks at every picture."),
    (
        "diptych validate job.yaml --json",
        "The same for a script: summary, notes and the spec with its preset resolved.",
    ),
)


def command(
    job: JobFile,
    overrides: Overrides = None,
    *,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Tell parameters, memory and pictures too, and what would fail. Takes seconds."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a YAML file and say what would run. Nothing is started or downloaded.

    A data set that is a folder of this machine is counted as its layout says; its pictures are not opened.
    Settings that one machine cannot honour are named; those that would change the result are refused. With `--deep`,
    pictures are opened, and the configs of a base on the hub are downloaded, but no weights.
    """
    from diptych_cli.validating import validate  # noqa: PLC0415 - imports pydantic's models

    validate(job, overrides or [], as_json=as_json, deep=deep)
