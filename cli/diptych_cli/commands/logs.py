"""`diptych logs`."""

from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, Overrides, Target
from diptych_cli.command import examples

NAME = "logs"
EXAMPLES = examples(
    ("diptych logs job.yaml", "Every step with loss, gradient norm and learning rate, and every validation."),
    ("diptych logs job.yaml --follow", "Goes on until the run ends."),
    ("diptych logs runs/local/noto-style-1a2b3c4d --json | tail -1", "The newest figures as JSON."),
)


def command(
    target: Target,
    overrides: Overrides = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the run ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a run has said so far: phases, losses, and why it failed if it did."""
    from diptych_cli.run_log import print_log  # noqa: PLC0415 - imports pydantic's models and fsspec

    print_log(target, overrides or [], follow=follow, as_json=as_json)
