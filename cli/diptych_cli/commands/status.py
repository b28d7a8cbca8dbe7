"""`diptych status`."""

from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, Overrides
from diptych_cli.command import examples

NAME = "status"
EXAMPLES = examples(
    ("diptych status", "Lists every run below runs/."),
    ("diptych status job.yaml", "Progress, losses and the folder of one run."),
    ("diptych status runs/local/noto-style-1a2b3c4d --json", "The newest report as JSON."),
)


def command(
    target: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run's folder, or the YAML it was started from. All runs without it."),
    ] = None,
    overrides: Overrides = None,
    *,
    output: Annotated[
        str, typer.Option(metavar="LOCATION", help="Where runs are kept, as in spec.output.uri; for the list.")
    ] = "runs",
    as_json: AsJson = False,
) -> None:
    """Show how far a run is, or list all runs."""
    from diptych_cli.run_status import list_runs, show_run  # noqa: PLC0415 - imports pydantic's models and fsspec

    if target is None:
        list_runs(output, as_json=as_json)
    else:
        show_run(target, overrides or [], as_json=as_json)
