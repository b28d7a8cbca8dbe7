"""`diptych resume`."""

from pathlib import Path

from diptych_api.errors import UserError
from diptych_cli.arguments import Context, JobOrRun, Kubeconfig, Namespace, Overrides
from diptych_cli.command import examples
from diptych_cli.where import YAML, Where, is_on_cluster

NAME = "resume"
EXAMPLES = examples(
    ("diptych resume noto-style", "A suspended job on the cluster goes on; a failed one gets one more attempt."),
    ("diptych resume job.yaml", "The run on this machine goes on from its last checkpoint: diptych run job.yaml."),
)


def command(
    target: JobOrRun,
    overrides: Overrides = None,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Go on from the last checkpoint.

    A path means a run on this machine; a plain name, or -n, --context or --kubeconfig, a job on a cluster.
    """
    where = Where(namespace, context, kubeconfig)
    if is_on_cluster(target, where):
        from diptych_cli.cluster_changes import resume  # noqa: PLC0415 - imports the Kubernetes client

        resume(target, where)
        return
    if Path(target).suffix not in YAML:
        raise UserError(
            f"{target} is a run's folder, which does not know where its paths start.",
            hint="Give the YAML that it was started from, with the same --set: diptych resume JOB.yaml",
        )
    from diptych_cli.running import RunRequest, train  # noqa: PLC0415 - imports pydantic's models

    train(RunRequest(Path(target), tuple(overrides or ())))
