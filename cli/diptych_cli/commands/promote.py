"""`diptych promote`."""

from typing import Annotated

import typer

from diptych_api.errors import UserError
from diptych_cli.arguments import Context, Kubeconfig, Namespace
from diptych_cli.command import examples
from diptych_cli.where import Where

NAME = "promote"
EXAMPLES = examples(
    ("diptych promote noto noto-style-8f21ac04", "Deployments that follow the model noto draw with this run."),
    ("diptych promote noto --rollback", "With the version before the current one."),
    ("diptych promote noto --unpin", "With whatever is promoted, from now on."),
    ("diptych promote noto noto-style-8f21ac04 --output runs", "The same on this machine, for the runs in runs/."),
    ("diptych promote noto --output runs", "Tells the versions that were promoted on this machine."),
)


def command(  # noqa: PLR0913 - one parameter for each option
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a DiffusionModel.", show_default=False)],
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="The run that it should stand for.")] = None,
    *,
    rollback: Annotated[bool, typer.Option("--rollback", help="The version before the current one.")] = False,
    unpin: Annotated[bool, typer.Option("--unpin", help="Follow promotion again.")] = False,
    output: Annotated[
        str | None,
        typer.Option(metavar="LOCATION", help="On this machine: where runs are kept, as in spec.output.uri."),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say which version a model stands for: on a cluster, or with --output on this machine.

    Deployments on the cluster follow without a restart.
    """
    from diptych_cli.promote_request import PromoteRequest  # noqa: PLC0415 - imports pydantic's models

    request = PromoteRequest(model, run, rollback=rollback, unpin=unpin)
    where = Where(namespace, context, kubeconfig)
    if output is None:
        from diptych_cli.cluster_changes import promote  # noqa: PLC0415 - imports the Kubernetes client

        promote(request, where)
        return
    if where.is_given:
        raise UserError("--output means this machine; -n, --context and --kubeconfig a cluster.", hint="Use one side.")
    from diptych_cli.promoting import promote_here  # noqa: PLC0415 - imports fsspec

    promote_here(request, output)
