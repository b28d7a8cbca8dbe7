"""A deployment in a cluster in memory: people change its spec, KubeRay is played, the operator works on."""

import json
from collections.abc import Callable
from typing import Any

from cluster.player import STATES, _merged, _place, _words
from diptych_api.names import labels, ray_service_name
from diptych_operator import kinds
from diptych_operator.cluster import Refused
from diptych_operator.defaults import Defaults
from diptych_operator.kinds import Kind, Manifest, Ref, kind_of
from diptych_operator.manifests.serve_text import serve_values
from diptych_operator.told import Told
from support.memory_world import World

SPACE = "art"
NAME = "noto"
GALLERY_REF = Ref(kinds.DIFFUSION_DEPLOYMENT, SPACE, NAME)
RAY_SERVICE_REF = Ref(kinds.RAY_SERVICE, SPACE, ray_service_name(NAME))
BASE: dict[str, Any] = {"builtin": "tiny-emoji"}
DIGEST = f"sha256:{'0' * 64}"
DONE = "2026-01-31T11:00:00Z"
SETTLED_S = 6


class Killed(BaseException):
    """The operator is gone in the middle of its work."""


class Gallery:
    """One deployment, and what belongs to it. The operator is killed once, after `kill_at` writes."""

    def __init__(self, defaults: Defaults | None = None, *, kill_at: int = 0, **spec: Any) -> None:
        self.world = World(defaults=defaults or Defaults(image="ray:1"))
        self.written = 0
        self._kill_at = kill_at
        self._clusters = 0
        self.world.memory.written = self._count
        self.change(**spec)

    def restart(self, defaults: Defaults) -> None:
        """Start another operator, with other defaults."""
        self.world.defaults = defaults
        self.world.crash()
        self.work()

    def work(self) -> None:
        """Let the operator work until it is still; where it is killed, another one goes on."""
        try:
            self.world.settle()
        except Killed:
            self.world.crash()
            self.world.settle()

    def change(self, **spec: Any) -> None:
        """Set fields of the spec; None takes a field away. The operator hears of it and works."""
        old = self.get(kinds.DIFFUSION_DEPLOYMENT) or {}
        values = {"base": BASE, **old.get("spec", {}), **spec}
        self._put(kinds.DIFFUSION_DEPLOYMENT, NAME, {"spec": _given(values)})

    def job(self, name: str, phase: str = "Succeeded", spec: dict[str, Any] | None = None, **status: Any) -> None:
        """Put a job as it is in a phase; the operator's own plan of it does not run on."""
        values = {"base": BASE, "dataset": {"source": {"uri": "s3://b/d"}}, "output": {"uri": "s3://b/runs"}}
        values |= {"managedBy": "kueue.x-k8s.io/multikueue"} | (spec or {})
        run = f"s3://b/runs/{SPACE}/{name}-0123abcd"
        artifact = {"uri": f"{run}/artifact", "digest": DIGEST, "sizeBytes": 1, "trainableParameters": 1}
        done = {"run": run, "completionTime": DONE, "artifact": artifact} if phase == "Succeeded" else {}
        self._put(kinds.FINE_TUNE_JOB, name, {"spec": values, "status": {"phase": phase} | done | status})

    def model(self, name: str, **spec: Any) -> None:
        """Put a model, or change it."""
        old = self.get(kinds.DIFFUSION_MODEL, name) or {}
        self._put(kinds.DIFFUSION_MODEL, name, {"spec": _given({**old.get("spec", {}), **spec})})

    def play(self, *states: str) -> None:
        """Let KubeRay write the next statuses; the operator hears of each."""
        for state in states:
            found = self.ray_service
            after, status = STATES["RayService"][state].after, found.get("status", {})
            assert _place("RayService", status) in after, f"{state} does not follow"
            self._clusters += 1
            now = f"{self.world.now:%Y-%m-%dT%H:%M:%SZ}"
            words = _words(self._short(found)) | {"now": now, "new-cluster": f"{NAME}-c{self._clusters}"}
            status = _merged(status, STATES["RayService"][state].change, words)
            self.world.memory.put({**found, "status": status}, f"KubeRay {state}")
            self.work()

    def _short(self, found: Manifest) -> Manifest:
        """Return the RayService with the names of applications and deployments alone: YAML takes its time."""
        names = [
            {"name": app["name"], "deployments": [{"name": one["name"]} for one in app.get("deployments", ())]}
            for app in self.serve_config["applications"]
        ]
        return {**found, "spec": {**found["spec"], "serveConfigV2": json.dumps({"applications": names})}}

    def serve(self) -> None:
        """Bring the deployment up."""
        self.play("Initializing", "Deploying", "Promoted", "Running")

    def says(self, **status: Any) -> None:
        """Change what KubeRay says; the operator hears of it."""
        found = self.ray_service
        self.world.memory.put({**found, "status": found.get("status", {}) | status}, "KubeRay")
        self.work()

    def hear(self, told: Told) -> None:
        """Let the gateway answer from now on; the operator hears of it."""
        self.world.told = told
        self.world.store._wake(GALLERY_REF)
        self.work()

    def let_go(self) -> None:
        """Let KubeRay be done with a RayService that is being deleted."""
        assert "deletionTimestamp" in self.ray_service["metadata"]
        self.world.memory.remove(RAY_SERVICE_REF)
        self.work()

    def pod(self, name: str, group: str = "engines", cluster: str = "", **status: Any) -> None:
        """Put a pod of the deployment; the operator hears of it."""
        owner = (self.get(kinds.DIFFUSION_DEPLOYMENT) or {})["metadata"]["uid"]
        group_labels = {"ray.io/group": group, "ray.io/cluster": cluster or self.active}
        given = labels(owner, deployment=NAME) | group_labels
        made = f"{self.world.now:%Y-%m-%dT%H:%M:%SZ}"
        head = {"name": name, "namespace": SPACE, "uid": f"uid-of-{name}", "labels": given, "creationTimestamp": made}
        self.world.memory.put({"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": {}, "status": status})
        self.work()

    def refuse(self, kind: Kind, message: str) -> None:
        """Let the API server refuse to take objects of a kind; with no message it takes them again."""
        takes = type(self.world.memory).apply.__get__(self.world.memory)

        async def apply(manifest: Manifest) -> Manifest:
            if message and kind_of(manifest) == kind:
                raise Refused(message)
            taken: Manifest = await takes(manifest)
            return taken

        self.world.memory.apply = apply  # type: ignore[method-assign]

    def writes(self, act: Callable[[], object]) -> list[str]:
        """Return what the operator wrote while something happened."""
        before = len(self.world.memory.writes)
        act()
        written = self.world.memory.writes[before:]
        return [write for write in written if write.split()[0] in {"apply", "delete", "status"}]

    def get(self, kind: Kind, name: str = NAME) -> Manifest | None:
        """Return an object."""
        return self.world.memory.objects.get(Ref(kind, SPACE, name))

    @property
    def ray_service(self) -> Manifest:
        """Return the RayService."""
        return self.world.memory.objects[RAY_SERVICE_REF]

    @property
    def serve_config(self) -> dict[str, Any]:
        """Return what Ray Serve is told."""
        values = serve_values(self.ray_service["spec"]["serveConfigV2"])
        assert values is not None
        return values

    @property
    def images(self) -> dict[str, Any]:
        """Return the application that draws."""
        found: dict[str, Any] = next(app for app in self.serve_config["applications"] if app["name"] == "images")
        return found

    def options(self, deployment: str) -> dict[str, Any]:
        """Return the options of a deployment of the application that draws."""
        found: dict[str, Any] = next(one for one in self.images["deployments"] if one["name"] == deployment)
        return found

    @property
    def active(self) -> str:
        """Return the RayCluster that answers."""
        found = self.world.memory.objects.get(RAY_SERVICE_REF) or {}
        return str(found.get("status", {}).get("activeServiceStatus", {}).get("rayClusterName", ""))

    @property
    def status(self) -> dict[str, Any]:
        """Return the deployment's status."""
        found: dict[str, Any] = (self.get(kinds.DIFFUSION_DEPLOYMENT) or {}).get("status", {})
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        return next((one["status"], one["reason"]) for one in self.status["conditions"] if one["type"] == kind)

    def message(self, kind: str) -> str:
        """Return the message of a condition."""
        return str(next(one.get("message", "") for one in self.status["conditions"] if one["type"] == kind))

    def told(self) -> list[tuple[str, str]]:
        """Return reason and message of the Events."""
        return [(event["reason"], event["message"]) for event in self.world.memory.events.values()]

    def stored(self) -> dict[str, Any]:
        """Return everything that is stored, without what counts writes, and what was told."""
        parts = {
            str(ref): {part: found.get(part) for part in ("spec", "status")}
            for ref, found in self.world.memory.objects.items()
        }
        return parts | {"told": sorted(self.told())}

    def _count(self) -> None:
        self.written += 1
        if self.written == self._kill_at:
            raise Killed

    def _put(self, kind: Kind, name: str, parts: dict[str, Any]) -> None:
        head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, "namespace": SPACE}}
        self.world.user_puts(head | parts)
        self.work()


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
