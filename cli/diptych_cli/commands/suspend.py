"""`diptych suspend`."""

from diptych_cli.arguments import Context, JobOrRun, Kubeconfig, Namespace, Overrides
from diptych_cli.command import examples
from diptych_cli.where import Where, is_on_cluster

NAME = "suspend"
EXAMPLES = examples(
    ("diptych suspend noto-style", "The job on the cluster saves a checkpoint and gives its pods back."),
    ("diptych suspend job.yaml", "The run on this machine saves a checkpoint and ends."),
)


def command(
    target: JobOrRun,
    overrides: Overrides = None,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Stop after a checkpoint, to go on later.

    A path means a run on this machine; a plain name, or -n, --context or --kubeconfig, a job on a cluster.
    """
    where = Where(namespace, context, kubeconfig)
    if is_on_cluster(target, where):
        from diptych_cli.cluster_changes import suspend  # noqa: PLC0415 - imports the Kubernetes client

        suspend(target, where)
        return
    from diptych_cli.run_stop import stop_run  # noqa: PLC0415 - imports pydantic's models and fsspec

    stop_run(target, overrides or [])
