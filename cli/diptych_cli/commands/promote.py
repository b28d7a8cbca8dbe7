"""`diptych promote`."""

from typing import Annotated

import typer

from diptych_cli.arguments import Context, Kubeconfig, Namespace
from diptych_cli.command import examples
from diptych_cli.where import Where

NAME = "promote"
EXAMPLES = examples(
    ("diptych promote noto noto-style-8f21ac04", "Deployments that follow the model noto draw with this run."),
    ("diptych promote noto --rollback", "With the version before the current one."),
    ("diptych promote noto --unpin", "With whatever is promoted, from now on."),
)


def command(  # noqa: PLR0913 - one parameter for each option
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A DiffusionModel on the cluster.", show_default=False)],
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="The run that it should stand for.")] = None,
    *,
    rollback: Annotated[bool, typer.Option("--rollback", help="The version before the current one.")] = False,
    unpin: Annotated[bool, typer.Option("--unpin", help="Follow promotion again.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say which version a model on a cluster stands for; deployments follow without a restart."""
    from diptych_cli.cluster_changes import PromoteRequest, promote  # noqa: PLC0415 - imports the Kubernetes client

    promote(PromoteRequest(model, run, rollback=rollback, unpin=unpin), Where(namespace, context, kubeconfig))
