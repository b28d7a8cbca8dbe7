"""`diptych logs`."""

from typing import Annotated

import typer

from diptych_cli.arguments import AsJson, Context, JobOrRun, Kubeconfig, Namespace, Overrides
from diptych_cli.command import examples
from diptych_cli.where import Where, is_on_cluster

NAME = "logs"
EXAMPLES = examples(
    ("diptych logs job.yaml", "Every step with loss, gradient norm and learning rate, and every validation."),
    ("diptych logs job.yaml --follow", "Goes on until the run ends."),
    ("diptych logs runs/local/noto-style-1a2b3c4d --json | tail -1", "The newest figures as JSON."),
    ("diptych logs noto-style -f", "A job on the cluster: what it waits for, progress, why an attempt ended."),
    ("diptych logs noto-style --pod", "What the container of its head pod printed."),
)


def command(  # noqa: PLR0913 - one parameter for each option
    target: JobOrRun,
    overrides: Overrides = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the run ends.")] = False,
    pod: Annotated[bool, typer.Option("--pod", help="On a cluster: the log of the head pod's container.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_json: AsJson = False,
) -> None:
    """Print what a run has said so far: phases, losses, and why it failed if it did.

    A path means a run on this machine; a plain name, or -n, --context or --kubeconfig, a job on a cluster.
    """
    where = Where(namespace, context, kubeconfig)
    if is_on_cluster(target, where):
        from diptych_cli.cluster_log import print_job_log  # noqa: PLC0415 - imports the Kubernetes client

        print_job_log(target, where, follow=follow, pod=pod, as_json=as_json)
        return
    from diptych_cli.run_log import print_log  # noqa: PLC0415 - imports pydantic's models and fsspec

    print_log(target, overrides or [], follow=follow, as_json=as_json)
