"""`diptych serve`."""

from pathlib import Path
from typing import Annotated

import typer

from diptych_cli.arguments import Overrides
from diptych_cli.command import examples

NAME = "serve"
EXAMPLES = examples(
    ("diptych serve examples/noto-deployment.yaml --runs demo/runs", "With the adapter that make demo trained."),
    ("diptych serve deployment.yaml --set endpoints.http.port=8080", "On another port."),
    ("diptych serve deployment.yaml --host 0.0.0.0", "For other machines too; anybody who reaches it may ask."),
)


def command(
    deployment: Annotated[
        Path,
        typer.Argument(
            metavar="DEPLOYMENT.yaml", help="A DiffusionDeployment. Paths in it start at the current folder."
        ),
    ],
    overrides: Overrides = None,
    *,
    runs: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where jobs on this machine write to, for fromJob and fromModel."),
    ] = Path("runs"),
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster: auto or ray://HOST:PORT. Without it, Ray starts here."),
    ] = None,
) -> None:
    """Serve base and adapters side by side until Ctrl-C.

    Prints the address and what to ask it. Pictures that are being drawn are finished first; a second Ctrl-C does
    not wait.
    """
    from diptych_cli.serving import ServeRequest, serve  # noqa: PLC0415 - imports pydantic's models

    serve(ServeRequest(deployment, tuple(overrides or ()), runs=runs, host=host, address=address))
