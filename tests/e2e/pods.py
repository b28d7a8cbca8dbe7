"""Small pods beside those of Ray, as Pod Security's restricted standard wants them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cluster.objects import Values, reference

LOW_PORTS: Final[Values] = {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}
"""Security of a pod that listens below 1024."""
SLEEP: Final = ("sleep", "100000")


def container(
    name: str, image: str, command: Sequence[str], memory: tuple[str, str] = ("16Mi", "64Mi"), **more: Any
) -> Values:
    """Return a container that may do nothing special, with its least and most memory."""
    fixed = {
        "name": name,
        "image": image,
        "command": list(command),
        "resources": {"requests": {"cpu": "10m", "memory": memory[0]}, "limits": {"memory": memory[1]}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return fixed | more


def pod(
    name: str, *containers: Values, labels: Mapping[str, str] = {}, security: Mapping[str, Any] = {}, **spec: Any
) -> Values:
    """Return a pod of a user without rights."""
    user = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    made = reference("v1", "Pod", name)
    made["metadata"]["labels"] = dict(labels)
    return made | {"spec": {"securityContext": {**user, **security}, "containers": list(containers), **spec}}
