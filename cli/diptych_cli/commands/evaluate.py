"""`diptych eval`."""

from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, Overrides
from diptych_cli.command import examples

NAME = "eval"
EXAMPLES = examples(
    ("diptych eval runs/local/noto-style-1a2b3c4d", "Draws and measures again, if anything changed since."),
    ("diptych eval runs/local/noto-style-1a2b3c4d --set evaluation.suite=flowers", "With other prompts."),
    (
        "diptych eval runs/local/noto-style-1a2b3c4d --set promotion.model=noto",
        "Holds it against what noto stands for, and promotes it if it is better.",
    ),
)


def command(
    target: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's folder, or the YAML it was started from.", show_default=False)
    ],
    overrides: Overrides = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Evaluate a finished run by itself: pictures, figures, report.html and, where asked for, its gate."""
    from diptych_cli.evaluating import evaluate  # noqa: PLC0415 - imports pydantic's models

    evaluate(target, overrides or [], as_json=as_json)
