"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

JobFile = Annotated[
    Path, typer.Argument(metavar="JOB.yaml", help="A FineTuneJob. Paths in it start at the current folder.")
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's folder, or the YAML it was started from (then with the same --set).",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a field, such as training.steps=1000. Can be repeated; null takes a field away.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for scripts. Errors too, on stderr.")]
