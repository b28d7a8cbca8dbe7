"""What is kept of an object that a watch told of: enough to plan by, little enough for ten thousand of them."""

from typing import Any, Final

from diptych_api.fields import API_GROUP
from diptych_operator.kinds import EVENT, POD, Manifest, kind_of
from diptych_operator.sealing import drifted
from diptych_operator.shortening import shortened

KEPT: Final = (
    *("name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations", "ownerReferences"),
    *("creationTimestamp", "deletionTimestamp"),
)
NOISE: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
LONGEST_TEXT: Final = 4096
POD_STATUS: Final = (
    *("phase", "reason", "message", "conditions", "startTime", "initContainerStatuses", "containerStatuses"),
    "podIP",
)


def trimmed(found: Manifest) -> Manifest:
    """Return an object without what no plan needs: managed fields, and the spec of children.

    Of a child it is told whether it `drifted`, since its spec is not kept.
    """
    head = {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": _metadata(found["metadata"])}
    if found["apiVersion"].startswith(f"{API_GROUP}/"):
        return head | {part: found[part] for part in ("spec", "status") if part in found}
    kind = kind_of(found)
    if kind == POD:
        status = {name: value for name, value in (found.get("status") or {}).items() if name in POD_STATUS}
        return head | {"spec": {"nodeName": found.get("spec", {}).get("nodeName", "")}, "status": status}
    if kind == EVENT:
        parts = ("type", "reason", "message", "involvedObject")
        return head | {part: found[part] for part in parts if part in found}
    return head | {"status": _shortened(found.get("status") or {}), "drifted": drifted(found)}


def _shortened(value: Any) -> Any:  # noqa: ANN401 - any part of a status
    """Return a status whose long texts lack their middle: KubeRay puts 20,000 letters of a program's log there."""
    if isinstance(value, dict):
        return {name: _shortened(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    return shortened(value, LONGEST_TEXT) if isinstance(value, str) else value


def _metadata(given: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {name: given[name] for name in KEPT if name in given}
    if "annotations" in metadata:
        metadata["annotations"] = {name: text for name, text in metadata["annotations"].items() if name not in NOISE}
    return metadata
