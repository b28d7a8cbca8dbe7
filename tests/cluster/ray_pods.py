"""Pods as KubeRay would make them, without a node: objects whose status a test sets."""

import json
import random
from datetime import UTC, datetime

from cluster.objects import Values, reference
from cluster.pod_states import POD_STATES
from cluster.rest import Rest

LABELS = {
    "ray.io/is-ray-node": "yes",
    "app.kubernetes.io/name": "kuberay",
    "app.kubernetes.io/created-by": "kuberay-operator",
}
FIXED = {"ray.io/cluster", "ray.io/node-type", "ray.io/group"}


class RayPods:
    """Makes the pods of a RayJob or RayService from its own templates, and sets what a kubelet would tell."""

    def __init__(self, api: Rest) -> None:
        self.api = api

    def create(self, owner: Values, *, cluster: str = "") -> list[Values]:
        """Make head and workers of an object's RayCluster and return them, the head first."""
        spec, status = owner["spec"], owner.get("status", {})
        layout = spec.get("rayClusterSpec") or spec["rayClusterConfig"]
        parts = [status.get("pendingServiceStatus", {}), status.get("activeServiceStatus", {}), status]
        name = cluster or next(part["rayClusterName"] for part in parts if part.get("rayClusterName"))
        head = self.create_one(owner, name, "headgroup", layout["headGroupSpec"]["template"])
        return [
            head,
            *(
                self.create_one(owner, name, group["groupName"], group["template"], index)
                for group in layout.get("workerGroupSpecs", [])
                for index in range(group.get("replicas", 0))
            ),
        ]

    def create_one(self, owner: Values, cluster: str, group: str, template: Values, index: int | None = None) -> Values:
        """Make one pod and return it: a worker by its index, else the head. It goes with its owner."""
        own, node = template.get("metadata", {}), "head" if index is None else "worker"
        labels = {"ray.io/cluster": cluster, "ray.io/node-type": node, "ray.io/group": group}
        labels |= LABELS | {"ray.io/identifier": f"{cluster}-{node}"}
        labels |= {key: value for key, value in own.get("labels", {}).items() if key not in FIXED}
        if index is not None:
            labels["ray.io/worker-group-replica-index"] = str(index)
        meta = {
            "generateName": f"{cluster}-head-" if index is None else f"{cluster}-{group}-worker-",
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "annotations": own.get("annotations", {}),
            "ownerReferences": [_owner(owner)],
        }
        return self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})

    def play(self, pod: Values, state: str) -> Values:
        """Set the status of a pod as the kubelet or the scheduler would, and return the pod."""
        container = pod["spec"]["containers"][0]["name"]
        text = json.dumps(POD_STATES[state]).replace("$container", container).replace("$now", _now())
        status = json.loads(text)
        cleared = {name: None for name in pod.get("status", {}) if name not in {"qosClass", *status}}
        return self.api.patch(pod, {"status": cleared | status}, subresource="status")

    def tell(self, pod: Values, reason: str, message: str, *, kind: str = "Warning") -> Values:
        """Record an event about a pod, such as FailedScheduling."""
        meta = pod["metadata"]
        about = {"apiVersion": "v1", "kind": "Pod"} | {key: meta[key] for key in ("name", "namespace", "uid")}
        suffix = f"{random.getrandbits(48):012x}"
        event = reference("v1", "Event", f"{meta['name']}.{suffix}", meta["namespace"]) | {
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": kind,
            "firstTimestamp": _now(),
            "lastTimestamp": _now(),
            "count": 1,
            "source": {"component": "default-scheduler"},
        }
        return self.api.create(event)


def _owner(owner: Values) -> Values:
    meta = owner["metadata"]
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"]}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
