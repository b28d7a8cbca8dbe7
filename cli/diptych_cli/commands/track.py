"""`diptych track`."""

from typing import Annotated

import typer

from diptych_cli.arguments import Overrides
from diptych_cli.command import examples

NAME = "track"
EXAMPLES = examples(
    ("diptych track runs/local/noto-style-1a2b3c4d", "Sends what MLflow missed while it was away."),
    (
        "diptych track runs/local/noto-style-1a2b3c4d --set tracking.uri=http://127.0.0.1:5000",
        "Tells another server of a run, one that was not tracked before too.",
    ),
)


def command(
    target: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or the YAML it was started from.")],
    overrides: Overrides = None,
) -> None:
    """Tell MLflow of a run from what its folder has; what is there already is not sent again."""
    from diptych_cli.tracking import track  # noqa: PLC0415 - imports pydantic's models and fsspec

    track(target, overrides or [])
