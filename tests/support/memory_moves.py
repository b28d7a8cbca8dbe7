"""What may happen in a world in memory: people, KubeRay, programs and other hands, each step by itself."""

import json
from collections.abc import Callable
from typing import Any

from cluster.player import STATES, _merged, _place, _words
from diptych_api import names
from diptych_operator import kinds
from diptych_operator.kinds import Kind, Manifest, Ref, ref_of
from support.memory_world import World

SPACE = "art"
JOB, GALLERY, MODEL = "noto", "gallery", "best"
TRAINING, SERVING = names.ray_job_name(JOB), names.ray_service_name(GALLERY)
"""Their RayJob and RayService."""
Act = Callable[[World], None]
Moves = dict[str, Act]
"""What may happen now, by name."""
OURS = {"FineTuneJob": kinds.FINE_TUNE_JOB, "DiffusionDeployment": kinds.DIFFUSION_DEPLOYMENT}
DIGEST = f"sha256:{'a' * 64}"
CHILDREN = (
    *(kinds.RAY_JOB, kinds.RAY_SERVICE, kinds.NETWORK_POLICY, kinds.DISRUPTION_BUDGET),
    *(kinds.SERVICE_ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING, kinds.INGRESS),
)
FAILURES = ("DatasetInvalid", "WorkerLost", "StoreUnwritable")


def moves(world: World) -> Moves:
    """Return everything that may happen now, in an order that does not change."""
    found = {**_people(world), **_kuberay(world), **_head(world), **_program(world), **_others(world)}
    return found | {f"wait {seconds}": _waiting(seconds) for seconds in (1, 61, 4000)}


def _people(world: World) -> Moves:
    found: Moves = {}
    for spec in (job_spec(), gallery_spec(), model_spec()):
        ref = kinds.ref_of(spec)
        if ref not in world.memory.objects:
            found[f"create {ref.kind.kind}"] = _puts(spec)
        else:
            found |= _edits(world, ref)
            found[f"delete {ref.kind.kind}"] = _removes(ref)
    return found


def _edits(world: World, ref: Ref) -> Moves:
    spec = world.memory.objects[ref]["spec"]
    runs = [version["run"] for version in world.memory.objects[ref].get("status", {}).get("history", ())]
    every: dict[str, dict[str, dict[str, Any]]] = {
        "FineTuneJob": {
            "suspend": {"suspend": not spec.get("suspend", False)},
            "ttl": {"ttlSecondsAfterFinished": spec.get("ttlSecondsAfterFinished", 60) + 60},
        },
        "DiffusionDeployment": {
            "suspend": {"suspend": not spec.get("suspend", False)},
            "adapters": {"adapters": spec.get("adapters", [])[1:] or gallery_spec()["spec"]["adapters"]},
            "replicas": {"replicas": spec.get("replicas", 1) % 3 + 1},
            "slots": {"slots": spec.get("slots", 8) % 16 + 4},
            "in place": {"rollout": {"strategy": "InPlace"}},
        },
        "DiffusionModel": {
            "pin": {"pin": runs[-1] if runs else "nobody-00000000"},
            "unpin": {"pin": None},
            "by hand": {"policy": "Manual"},
        },
    }
    found = {f"{ref.kind.kind} {name}": _edit(ref, change) for name, change in every[ref.kind.kind].items()}
    if ref.kind == kinds.FINE_TUNE_JOB:
        attempt = str(world.memory.objects[ref].get("status", {}).get("attempt", 0))
        found["cancel"] = _annotates(ref, "diptych.dev/cancel", "true")
        found["retry"] = _annotates(ref, "diptych.dev/retry", attempt)
    return found


def _kuberay(world: World) -> Moves:
    found: Moves = {}
    for kind, name in ((kinds.RAY_JOB, TRAINING), (kinds.RAY_SERVICE, SERVING)):
        ref = Ref(kind, SPACE, name)
        if (child := world.memory.objects.get(ref)) is None:
            continue
        if "deletionTimestamp" in child["metadata"]:
            found[f"KubeRay lets go of {kind.kind}"] = _removes(ref)
            continue
        now = _place(kind.kind, child.get("status", {}))
        states = [name for name, state in STATES[kind.kind].items() if now in state.after]
        found |= {f"{kind.kind} {state}": _plays(ref, state) for state in states}
    return found


def _head(world: World) -> Moves:
    """Return what may become of the head pod of a job's cluster."""
    ray_job = world.memory.objects.get(Ref(kinds.RAY_JOB, SPACE, TRAINING), {})
    status = ray_job.get("status", {})
    if status.get("jobDeploymentStatus") not in {"Initializing", "Running"} or not status.get("rayClusterName"):
        return {}
    cluster, owner = status["rayClusterName"], ray_job["metadata"]
    name = f"{cluster}-head"
    if (found := world.memory.objects.get(Ref(kinds.POD, SPACE, name))) is not None:
        restarts = found["status"]["containerStatuses"][0]["restartCount"] + 1
        return {"head starts anew": _shows(found, restarts), "head goes": _removes(ref_of(found))}
    labels = names.labels(owner["labels"].get(names.OWNER_UID, ""), job=JOB)
    metadata = {
        "name": name,
        "namespace": SPACE,
        "uid": f"head-{next(world.memory._numbers)}",
        "labels": labels | {"ray.io/node-type": "head", "ray.io/cluster": cluster},
        "ownerReferences": [{"uid": owner["uid"]}],
    }
    return {"head starts": _shows({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}}, 0)}


def _shows(pod: Manifest, restarts: int) -> Act:
    container = {"name": "ray", "restartCount": restarts}
    return lambda world: world.memory.put({**pod, "status": {"phase": "Running", "containerStatuses": [container]}})


def _program(world: World) -> Moves:
    """Return what the head pod may report, while there is one."""
    ray_job = world.memory.objects.get(Ref(kinds.RAY_JOB, SPACE, TRAINING), {})
    if ray_job.get("status", {}).get("jobDeploymentStatus") not in {"Running", "Complete", "Failed"}:
        return {}
    found = {f"report {step}": _reports({"phase": "Training", "step": step}) for step in (10, 71)}
    found["report success"] = _reports({"phase": "Succeeded", "step": 100, "artifact": artifact(), **figures()})
    for reason in FAILURES:
        failure = {"reason": reason, "message": "It went wrong.", "step": 40}
        found[f"report {reason}"] = _reports({"phase": "Failed", "step": 40, "failure": failure})
    return found


def _others(world: World) -> Moves:
    """Return what other hands may do to children."""
    found: Moves = {}
    for kind in CHILDREN:
        for ref in sorted(ref for ref in world.memory.objects if ref.kind == kind):
            if "deletionTimestamp" not in world.memory.objects[ref]["metadata"]:
                found[f"delete {ref}"] = _removes(ref)
                found[f"spoil {ref}"] = _spoils(ref)
    return found


def job_spec(**spec: Any) -> Manifest:
    """Return a FineTuneJob whose artifact may become a model."""
    base = {
        "base": {"builtin": "tiny-emoji"},
        "dataset": {"source": {"uri": "s3://bucket/pictures"}},
        "output": {"uri": "s3://bucket/runs"},
        "promotion": {"model": MODEL},
        "resources": {"workers": 1, "gpusPerWorker": 1},
        "retry": {"backoffLimit": 1},
    }
    return _ours(kinds.FINE_TUNE_JOB, JOB, base | spec)


def gallery_spec(**spec: Any) -> Manifest:
    """Return a DiffusionDeployment with an adapter from each source."""
    adapters = [
        {"name": "fixed", "uri": "s3://bucket/fixed"},
        {"name": "newest", "fromJob": {"name": JOB}},
        {"name": "best", "fromModel": {"name": MODEL}},
    ]
    return _ours(kinds.DIFFUSION_DEPLOYMENT, GALLERY, {"base": {"builtin": "tiny-emoji"}, "adapters": adapters} | spec)


def model_spec(**spec: Any) -> Manifest:
    """Return a DiffusionModel."""
    return _ours(kinds.DIFFUSION_MODEL, MODEL, spec)


def artifact() -> Manifest:
    """Return a finished artifact as a program reports it."""
    return {"uri": "s3://bucket/runs/art/noto/artifact", "digest": DIGEST, "sizeBytes": 9, "trainableParameters": 9}


def figures() -> Manifest:
    """Return what an evaluation found: better than the base."""
    return {"metrics": [{"name": "ValidationLoss", "base": 0.2, "tuned": 0.1, "n": 8}]}


def _ours(kind: Kind, name: str, spec: Manifest) -> Manifest:
    head = {"apiVersion": kind.api_version, "kind": kind.kind}
    return {**head, "metadata": {"name": name, "namespace": SPACE}, "spec": spec}


def _puts(manifest: Manifest) -> Act:
    return lambda world: world.user_puts(manifest)


def _edit(ref: Ref, change: dict[str, Any]) -> Act:
    def act(world: World) -> None:
        found = world.memory.objects[ref]
        spec = {name: value for name, value in {**found["spec"], **change}.items() if value is not None}
        world.user_puts({**found, "spec": spec})

    return act


def _annotates(ref: Ref, name: str, text: str) -> Act:
    def act(world: World) -> None:
        found = world.memory.objects[ref]
        metadata = found["metadata"]
        annotations = metadata.get("annotations", {}) | {name: text}
        world.user_puts({**found, "metadata": metadata | {"annotations": annotations}})

    return act


def _removes(ref: Ref) -> Act:
    return lambda world: world.memory.remove(ref)


def _spoils(ref: Ref) -> Act:
    def act(world: World) -> None:
        found = json.loads(json.dumps(world.memory.objects[ref]))
        found["metadata"]["labels"] = dict.fromkeys(found["metadata"].get("labels", {}), "spoilt") | {
            names.OWNER_UID: found["metadata"]["labels"].get(names.OWNER_UID, ""),
            names.MANAGED_BY: names.PRODUCT,
        }
        world.memory.put(found, "others spoil")

    return act


def _plays(ref: Ref, state: str) -> Act:
    def act(world: World) -> None:
        found = world.memory.objects[ref]
        number = next(world.memory._numbers)
        words = _words(found) | {
            "now": f"{world.now:%Y-%m-%dT%H:%M:%SZ}",
            "new-cluster": f"{ref.name}-c{number}",
            "new-job": f"{ref.name}-j{number}",
        }
        change = STATES[ref.kind.kind][state].change
        world.memory.put({**found, "status": _merged(found.get("status", {}), change, words)}, f"KubeRay {state}")

    return act


def _reports(spec: dict[str, Any]) -> Act:
    def act(world: World) -> None:
        job = world.memory.objects[Ref(kinds.FINE_TUNE_JOB, SPACE, JOB)]
        owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": JOB, "uid": job["metadata"]["uid"]}
        said = {"totalSteps": 100, "attempt": max(job.get("status", {}).get("attempt", 1), 1)}
        time = f"{world.now:%Y-%m-%dT%H:%M:%SZ}"
        report = _ours(kinds.FINE_TUNE_REPORT, names.report_name(JOB), {**said, **spec, "time": time})
        report["metadata"]["ownerReferences"] = [owner]
        world.user_puts(report)

    return act


def _waiting(seconds: int) -> Act:
    return lambda world: world.wait(seconds)
