"""Plays KubeRay: writes the next status of a RayJob or RayService as KubeRay would, where KubeRay does not watch."""

import random
import string
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import yaml

from cluster.objects import Values, reference
from cluster.rayjob_states import NO_CLUSTER, RAYJOB_STATES, State
from cluster.rayservice_states import RAYSERVICE_STATES
from cluster.rest import Refused, Rest

RAY_VERSION = "ray.io/v1"
STATES: dict[str, dict[str, State]] = {"RayJob": RAYJOB_STATES, "RayService": RAYSERVICE_STATES}
# What Go's zero values look like: written with any status.
BLANK: dict[str, Values] = {
    "RayJob": {"rayClusterStatus": NO_CLUSTER, "rayJobInfo": {}, "failed": 0, "succeeded": 0},
    "RayService": {
        "activeServiceStatus": {"rayClusterStatus": NO_CLUSTER},
        "pendingServiceStatus": {"rayClusterStatus": NO_CLUSTER},
    },
}
LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes draws them


class Player:
    """Writes statuses of the tables. A state that cannot follow the present one is refused."""

    def __init__(self, api: Rest) -> None:
        self.api = api

    def play(self, kind: str, namespace: str, name: str, state: str) -> Values:
        """Write the state and return the object."""
        target = reference(RAY_VERSION, kind, name, namespace)
        while True:
            found = self.api.read(target)
            status = next_status(found, state)
            try:
                kept = self.api.request("PUT", f"{self.api.path(found)}/status", found | {"status": status})
            except Refused as refused:
                if refused.reason != "Conflict":  # somebody wrote in between: read again
                    raise
            else:
                assert kept["status"] == status, f"the CRD dropped a part of {status}"
                return kept

    def play_all(self, kind: str, namespace: str, name: str, states: Iterable[str]) -> Values:
        """Write one state after the other and return the object."""
        found: Values = {}
        for state in states:
            found = self.play(kind, namespace, name, state)
        return found


def next_status(found: Values, name: str) -> Values:
    """Return the status of an object in a state of the tables."""
    states = STATES[found["kind"]]
    if name not in states:
        raise ValueError(f"a {found['kind']} has no state {name}; there are {', '.join(states)}")
    state, status = states[name], BLANK[found["kind"]] | found.get("status", {})
    if (now := _place(found["kind"], status)) not in state.after:
        raise ValueError(f"{name} does not follow {now or 'a new object'}; it follows {', '.join(state.after)}")
    return _merged(status, state.change, _words(found))


def _place(kind: str, status: Values) -> str:
    """Return the word of a status by which the tables tell what may follow."""
    if kind == "RayJob":
        return str(status.get("jobDeploymentStatus", ""))
    ready = [each["reason"] for each in status.get("conditions", []) if each["type"] == "Ready"]
    return str(ready[0]) if ready else ""


def _words(found: Values) -> Values:
    """Return what the words of the tables stand for."""
    meta, spec, status = found["metadata"], found["spec"], found.get("status", {})
    pending = status.get("pendingServiceStatus", {}).get("rayClusterName", "")
    serving = status.get("activeServiceStatus", {}).get("rayClusterName", "")
    workers = sum(group.get("replicas", 0) for group in _ray_cluster(spec).get("workerGroupSpecs", []))
    failed, succeeded = status.get("failed", 0), status.get("succeeded", 0)
    return {
        "now": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "start": status.get("startTime", ""),
        "namespace": meta["namespace"],
        "generation": meta["generation"],
        "new-job": f"{meta['name']}-{_letters()}",
        "new-cluster": f"{meta['name']}-{_letters()}",
        "cluster": status.get("rayClusterName") or pending or serving,
        "pending": pending,
        "workers": workers,
        "endpoints": max(1, workers),
        "failed+1": failed + 1,
        "succeeded+1": succeeded + 1,
        "no-cluster": NO_CLUSTER,
        "emptied": {"rayClusterStatus": NO_CLUSTER},
        "applications": yaml.safe_load(spec.get("serveConfigV2") or "{}").get("applications", []),
    }


def _ray_cluster(spec: Values) -> Values:
    found: Values = spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or {}
    return found


def _letters() -> str:
    return "".join(random.SystemRandom().choices(LETTERS, k=5))


def _merged(old: Values, change: Values, words: Values) -> Values:
    merged = dict(old)
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        elif name == "conditions":
            merged[name] = _conditions(old.get(name, []), _filled(value, words), keep=True)
        elif name == "rayClusterStatus":
            merged[name] = _filled(value, words)
            if "conditions" in merged[name]:
                before = old.get(name, {}).get("conditions", [])
                merged[name]["conditions"] = _conditions(before, merged[name]["conditions"], keep=False)
        elif isinstance(value, dict):
            merged[name] = _merged(old.get(name, {}), value, words)
        else:
            merged[name] = _filled(value, words)
    return merged


def _conditions(old: list[Values], new: list[Values], *, keep: bool) -> list[Values]:
    """Return the new conditions, after old ones of other types if they are kept. A time is when the status changed."""
    before = {each["type"]: each for each in old}
    for each in new:
        if before.get(each["type"], {}).get("status") == each["status"]:
            each["lastTransitionTime"] = before[each["type"]]["lastTransitionTime"]
    told = {each["type"] for each in new}
    return [*new, *(each for each in old if keep and each["type"] not in told)]


def _filled(value: Any, words: Values) -> Any:
    """Return a value of the tables with its words filled in. A word alone keeps its type."""
    if isinstance(value, dict):
        return {name: _filled(part, words) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, words) for part in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    if value.startswith("$applications "):
        return _applications(words["applications"], *value.split()[1:])
    return words[value[1:]] if value[1:] in words else string.Template(value).substitute(words)


def _applications(declared: list[Values], application: str, deployment: str) -> Values:
    return {
        each["name"]: {
            "status": application,
            "serveDeploymentStatuses": {
                part["name"]: {"status": deployment} for part in each.get("deployments", [{"name": "Gateway"}])
            },
        }
        for each in declared
    }
