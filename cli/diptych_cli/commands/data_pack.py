"""`diptych data pack`."""

from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, JobFile, Overrides
from diptych_cli.command import examples

NAME = "pack"
EXAMPLES = examples(
    ("diptych data pack job.yaml --to s3://ours/data", "One archive with its card; the same pictures, the same bytes."),
    ("diptych data pack job.yaml", "To where dataset.publishTo says."),
)


def command(
    job: JobFile,
    overrides: Overrides = None,
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="PLACE", help="A folder, s3:// or gs://. \\[default: publishTo]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pack the data set of a job, prepared, into one archive that any job can read."""
    from diptych_cli.preparing import pack  # noqa: PLC0415 - imports pydantic's models

    pack(job, overrides or [], to, as_json=as_json)
