"""`diptych get`."""

from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, Context, Kubeconfig, Namespace
from diptych_cli.command import examples
from diptych_cli.where import Where

NAME = "get"
EXAMPLES = examples(
    ("diptych get", "Jobs, deployments and models of the namespace."),
    ("diptych get jobs -A", "The jobs of all namespaces."),
    ("diptych get models noto --json", "One object as it is stored: its versions and the evidence for them."),
)


def command(  # noqa: PLR0913 - one parameter for each option
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", help="jobs, deployments or models (ftj, dd, dm). All of them without it."),
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One object. All of them without it.")] = None,
    *,
    everywhere: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Look in all namespaces.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Show the columns of kubectl -o wide too.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_json: AsJson = False,
) -> None:
    """List what there is on a cluster, in the columns that kubectl shows. Runs on this machine: diptych status."""
    from diptych_cli.cluster_get import GetRequest, show  # noqa: PLC0415 - imports the Kubernetes client

    request = GetRequest(kind, name, everywhere=everywhere, wide=wide, as_json=as_json)
    show(request, Where(namespace, context, kubeconfig))
