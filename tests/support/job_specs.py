"""Random FineTuneJobs whose names Kubernetes would take, with text of an attacker wherever text is free."""

from typing import Any

from hypothesis import strategies as st

from diptych_api.finetunejob import FineTuneJob
from diptych_api.wire import from_wire
from support.specs import Values, resources

EVIL = "$(touch /pwned)`id`;\"'\n$PATH ${HOME} && reboot #"
CREDENTIALS = frozenset({"credentials", "token", "apiKey", "valueFrom"})
"""Fields that hold a reference to a Secret's key."""


def jobs() -> st.SearchStrategy[FineTuneJob]:
    """Return a strategy for jobs as the API server stores them."""
    tame = st.sampled_from([True, True, True, False])
    return st.builds(_stored, resources(FineTuneJob), tame).map(lambda values: from_wire(FineTuneJob, values))


def _stored(values: Values, tame: bool) -> Values:  # noqa: FBT001 - drawn
    spec = values["spec"] | {"managedBy": "diptych.dev/operator"}
    if tame:
        spec = _tame(spec) | {"output": _output(spec.get("output", {}))}
    spec["evaluation"] = spec.get("evaluation", {}) | {"prompts": [EVIL], "suite": EVIL}
    metadata = values["metadata"] | {"namespace": "art", "uid": "job-uid", "generation": 1}
    return values | {"metadata": metadata, "spec": spec, "status": {}}


def _tame(value: Any, name: str = "") -> Any:
    if name in CREDENTIALS:
        return {"name": "a-secret", "key": "SOME_KEY"}
    if name in FIXED and isinstance(value, type(FIXED[name])):
        return FIXED[name]
    if isinstance(value, dict):
        parts = {key: _tame(part, key) for key, part in value.items() if key != "template"}
        return _volumes(parts) if "volumes" in parts else parts
    if isinstance(value, list):
        return TAMED.get(name, lambda items: [_tame(item) for item in items])(value)
    return value


def _volumes(pods: Values) -> Values:
    mounts = [
        volume | {"mountPath": f"/data/{number}", "claim": {"claimName": "more"}}
        for number, volume in enumerate(pods["volumes"])
    ]
    return pods | {"volumes": mounts}


def _output(given: Values) -> Values:
    return given if "pvc" in given else {**given, "uri": "s3://bucket/runs"}


FIXED: Values = {
    "claimName": "claim.one",
    "path": "some/folder",
    "image": "registry.example/ray@sha256:0",
    "gpuType": "NVIDIA-L4",
    "priorityClassName": "high",
    "serviceAccountName": "own-account",
    "nodeSelector": {"disk": "ssd"},
}
TAMED: dict[str, Any] = {
    "imagePullSecrets": lambda items: ["registry"] * len(items),
    "tolerations": lambda items: [{"key": "gpu", "operator": "Exists"} for _ in items],
    "env": lambda items: [{"name": f"OWN_{n}", "valueFrom": {"name": "more", "key": "k"}} for n, _ in enumerate(items)],
}
