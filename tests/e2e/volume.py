"""The volume of the examples, from outside: a pod that holds it, and what lies in it."""

import json

from cluster.objects import Values, reference
from e2e.shell import Shell

CLAIM = "diptych-workspace"


def keeper(image: str) -> Values:
    """Return a pod that does nothing but hold the volume at /store."""
    container = {
        "name": "keeper",
        "image": image,
        "command": ["sleep", "100000"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "store", "mountPath": "/store"}],
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    volume = {"name": "store", "persistentVolumeClaim": {"claimName": CLAIM}}
    spec = {"containers": [container], "securityContext": security, "volumes": [volume]}
    return reference("v1", "Pod", "keeper") | {"spec": spec | {"terminationGracePeriodSeconds": 0}}


def losses(shell: Shell, job: str) -> dict[tuple[str, int], float]:
    """Return training and validation losses of a job's run by kind and step, all digits of them.

    A step that was done again after an interruption stands there again: the last line counts.
    """
    lines = shell.quietly(f"kubectl exec keeper -- sh -c 'cat /store/runs/*/{job}-*/metrics.jsonl'").splitlines()
    rows = [json.loads(line) for line in lines]
    return {(kind, row["step"]): row[kind] for row in rows for kind in ("loss", "val_loss") if kind in row}
