"""`diptych data preview`."""

from pathlib import Path
from typing import Annotated

import typer

from diptych_cli.arguments import Overrides, Target
from diptych_cli.command import examples

NAME = "preview"
EXAMPLES = examples(
    ("diptych data preview job.yaml", "Writes preview.png: forty pictures with their captions."),
    ("diptych data preview runs/local/noto-style-1a2b3c4d -n 100 -o sheet.jpg", "A hundred of them."),
)


def command(
    target: Target,
    overrides: Overrides = None,
    *,
    pictures: Annotated[int, typer.Option("-n", "--pictures", min=1, max=400, help="How many.")] = 40,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The sheet that is written.")] = Path(
        "preview.png"
    ),
) -> None:
    """Write a sheet of the pictures that a run learns from, with their captions."""
    from diptych_cli.preparing import preview  # noqa: PLC0415 - imports pydantic's models

    preview(target, overrides or [], pictures, output)
