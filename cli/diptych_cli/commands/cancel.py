"""`diptych cancel`."""

from diptych_cli.arguments import Context, JobOrRun, Kubeconfig, Namespace, Overrides
from diptych_cli.command import examples
from diptych_cli.where import Where, is_on_cluster

NAME = "cancel"
EXAMPLES = examples(
    ("diptych cancel noto-style", "Ends the job on the cluster for good. Its status and its checkpoints stay."),
    ("diptych cancel job.yaml", "Stops the run on this machine after a checkpoint, as Ctrl-C does there."),
)


def command(
    target: JobOrRun,
    overrides: Overrides = None,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """End a job on a cluster, or stop a run on this machine.

    A path means a run on this machine; a plain name, or -n, --context or --kubeconfig, a job on a cluster.
    """
    where = Where(namespace, context, kubeconfig)
    if is_on_cluster(target, where):
        from diptych_cli.cluster_changes import cancel  # noqa: PLC0415 - imports the Kubernetes client

        cancel(target, where)
        return
    from diptych_cli.run_stop import stop_run  # noqa: PLC0415 - imports pydantic's models and fsspec

    stop_run(target, overrides or [])
