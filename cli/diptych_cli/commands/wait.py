"""`diptych wait`."""

import re
from enum import StrEnum
from typing import Annotated, Final

import typer

from diptych_api.errors import UserError
from diptych_cli.arguments import Context, JobOrRun, Kubeconfig, Namespace, Overrides
from diptych_cli.command import examples
from diptych_cli.where import Where, is_on_cluster

NAME = "wait"
EXAMPLES = examples(
    ("diptych wait noto-style --timeout 2h", "Exit code 0 when the job has succeeded, 1 when it failed, 75 after 2 h."),
    ("diptych wait noto --for ready", "Until a deployment draws with everything that its spec asks for."),
    ("diptych wait job.yaml && diptych export job.yaml --format kohya -o noto.safetensors", "A run on this machine."),
)
SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Goal(StrEnum):
    """What can be waited for."""

    SUCCEEDED = "succeeded"
    READY = "ready"


def command(  # noqa: PLR0913 - one parameter for each option
    target: JobOrRun,
    overrides: Overrides = None,
    *,
    goal: Annotated[
        Goal, typer.Option("--for", metavar="WHAT", help="succeeded (a job or a run), ready (a deployment).")
    ] = Goal.SUCCEEDED,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Such as 90s, 10m or 2h. \\[default: no end]")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Wait until a job has succeeded or a deployment is ready. Exit code 1: it cannot any more; 75: the time is over.

    A path means a run on this machine; a plain name, or -n, --context or --kubeconfig, a cluster.
    """
    where, timeout_s = Where(namespace, context, kubeconfig), None if timeout is None else seconds(timeout)
    if is_on_cluster(target, where):
        from diptych_cli.cluster_wait import WaitRequest, wait  # noqa: PLC0415 - imports the Kubernetes client

        wait(WaitRequest(target, goal.value, timeout_s), where)
        return
    if goal is Goal.READY:
        raise UserError("--for ready is for deployments on a cluster.", hint="diptych serve says when it is ready.")
    from diptych_cli.run_wait import wait_for_run  # noqa: PLC0415 - imports pydantic's models and fsspec

    wait_for_run(target, overrides or [], timeout_s)


def seconds(text: str) -> float:
    """Return a time such as 90, 90s, 1.5h. Raises UserError."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text)
    if found is None:
        raise UserError(f"--timeout {text} is no time.", hint="Write 90s, 10m or 2h.")
    return float(found[1]) * SECONDS[found[2]]
