"""A namespace in which people, KubeRay and a job's program act while an operator works."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cluster.objects import Values, reference
from cluster.player import Player
from cluster.rest import Refused, Rest
from diptych_api import names
from diptych_operator.kinds import FINE_TUNE_JOB, FINE_TUNE_REPORT, RAY_SERVICE, Kind, Manifest


@dataclass(frozen=True, slots=True)
class Stage:
    """Acts as everybody but the operator. `api` is an administrator's."""

    api: Rest
    player: Player
    namespace: str

    def create(self, manifest: Manifest) -> Values:
        """Create an object in this namespace."""
        metadata = manifest["metadata"] | {"namespace": self.namespace}
        return self.api.create({**manifest, "metadata": metadata})

    def find(self, kind: Kind, name: str) -> Values | None:
        """Return an object; None when it is not there."""
        try:
            return self.api.read(self._target(kind, name))
        except Refused as refused:
            if refused.code != 404:
                raise
            return None

    def edit(self, kind: Kind, name: str, **spec: Any) -> Values:
        """Merge a change into a spec."""
        return self.api.patch(self._target(kind, name), {"spec": spec})

    def annotate(self, kind: Kind, name: str, **annotations: str) -> Values:
        """Set annotations of ours, named without their prefix."""
        given = {f"diptych.dev/{key}": text for key, text in annotations.items()}
        return self.api.patch(self._target(kind, name), {"metadata": {"annotations": given}})

    def delete(self, kind: Kind, name: str) -> None:
        """Ask for an object's deletion, with everything that it owns."""
        self.api.delete(self._target(kind, name), propagationPolicy="Background")

    def play(self, kind: Kind, name: str, *states: str) -> None:
        """Let KubeRay write one state after the other."""
        self.player.play_all(kind.kind, self.namespace, self._named(kind, name), states)

    def report(self, job: str, **spec: Any) -> Values:
        """Say something as a job's program does: by server-side apply, under the reporter's name."""
        owner = self.api.read(self._target(FINE_TUNE_JOB, job))
        target = self._target(FINE_TUNE_REPORT, names.report_name(job))
        head = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": job}
        target["metadata"]["ownerReferences"] = [head | {"uid": owner["metadata"]["uid"]}]
        said = {"totalSteps": 100, "attempt": max(owner.get("status", {}).get("attempt", 1), 1)}
        target["spec"] = said | {"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"} | spec
        return self.api.apply(target, manager=names.REPORT_MANAGER)

    def pods_of(self, job: str) -> list[Values]:
        """Return the pods that the controller of Kubernetes' Jobs made for one of them."""
        found: list[Values] = self.api.listed("v1", "Pod", self.namespace, labels=f"batch.kubernetes.io/job-name={job}")
        return found

    def ends(self, pod: Values, exit_code: int, word: str) -> None:
        """Let the container of a pod end with a last word, as the kubelet tells it."""
        ended = {"exitCode": exit_code, "message": word, "reason": "Error" if exit_code else "Completed"}
        container = {"name": pod["spec"]["containers"][0]["name"], "state": {"terminated": ended}}
        container |= {"ready": False, "restartCount": 0, "image": "image:1", "imageID": ""}
        status = {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": [container]}
        self.api.patch(pod, {"status": status}, subresource="status")

    def status(self, kind: Kind, name: str) -> Values:
        """Return a status; empty when there is none."""
        found: Values = (self.find(kind, name) or {}).get("status", {})
        return found

    def phase(self, kind: Kind, name: str) -> str:
        """Return the phase of a resource; empty when there is none."""
        return str(self.status(kind, name).get("phase", ""))

    def uid(self, kind: Kind, name: str) -> str:
        """Return the identity of an object; empty when it is not there."""
        return str((self.find(kind, name) or {}).get("metadata", {}).get("uid", ""))

    def _target(self, kind: Kind, name: str) -> Values:
        return reference(kind.api_version, kind.kind, self._named(kind, name), self.namespace)

    def _named(self, kind: Kind, name: str) -> str:
        """Return the name of an object; a RayService is named by its deployment."""
        return names.ray_service_name(name) if kind == RAY_SERVICE else name
