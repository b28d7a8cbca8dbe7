"""The volume of the examples, from outside: a pod that holds it, and what lies in it."""

import json

from cluster.objects import Values
from e2e.pods import SLEEP, container, pod
from e2e.shell import Shell

CLAIM = "diptych-workspace"


def keeper(image: str) -> Values:
    """Return a pod that does nothing but hold the volume at /store."""
    keeping = container("keeper", image, SLEEP, volumeMounts=[{"name": "store", "mountPath": "/store"}])
    volume = {"name": "store", "persistentVolumeClaim": {"claimName": CLAIM}}
    return pod("keeper", keeping, volumes=[volume], terminationGracePeriodSeconds=0)


def losses(shell: Shell, job: str) -> dict[tuple[str, int], float]:
    """Return training and validation losses of a job's run by kind and step, all digits of them.

    A step that was done again after an interruption stands there again: the last line counts.
    """
    lines = shell.quietly(f"kubectl exec keeper -- sh -c 'cat /store/runs/*/{job}-*/metrics.jsonl'").splitlines()
    rows = [json.loads(line) for line in lines]
    return {(kind, row["step"]): row[kind] for row in rows for kind in ("loss", "val_loss") if kind in row}
