"""What is stored in a namespace, without what differs between two equal runs: uids, times, versions, drawn letters."""

import json
import re
from collections.abc import Iterable
from typing import Any

from cluster.objects import Values
from cluster.player import LETTERS
from cluster.rest import Rest
from diptych_api.fields import API_GROUP
from diptych_api.names import FIELD_MANAGER, HASH_ANNOTATION
from diptych_operator import kinds
from diptych_operator.kinds import Kind
from diptych_operator.sealing import APPLIED_ANNOTATION, unsealed

OURS = (kinds.FINE_TUNE_JOB, kinds.DIFFUSION_DEPLOYMENT, kinds.DIFFUSION_MODEL, kinds.FINE_TUNE_REPORT)
CHILDREN = (
    *(kinds.RAY_JOB, kinds.RAY_SERVICE, kinds.NETWORK_POLICY, kinds.DISRUPTION_BUDGET),
    *(kinds.INGRESS, kinds.SERVICE_ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING),
)
DRAWN = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink")
ADDRESSES = ("clusterIP", "clusterIPs")
MEASURED = ("gpuSeconds", "activeSeconds", "gpuSecondsBefore", "lostSeconds")
HASHES = ("configHash", "desiredHash")
"""Over manifests with uids in them."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CLUSTER = re.compile(rf"\b([a-z]+)-[{LETTERS}]{{5}}\b")


def masked_children(api: Rest, namespace: str) -> dict[str, Any]:
    """Return what the operator made in a namespace."""
    kinds_made = {kind.kind for kind in CHILDREN}
    found = masked_namespace(api, namespace)
    return {name: each for name, each in found.items() if name.split()[0] in kinds_made}


def masked_namespace(api: Rest, namespace: str) -> dict[str, Any]:
    """Return everything of ours in a namespace, and what was told about it.

    An operator that is down while a change comes and goes does not tell of it: the same words count once.
    """
    found = {
        f"{kind.kind} {each['metadata']['name']}": masked(each, namespace)
        for kind in (*OURS, *CHILDREN)
        for each in listed(api, kind, namespace)
        if kind in OURS or is_child(each)
    }
    return found | {"events": sorted(set(_told(api, namespace)))}


def listed(api: Rest, kind: Kind, namespace: str) -> list[Values]:
    """Return all objects of a kind in a namespace, each with its kind."""
    head = {"apiVersion": kind.api_version, "kind": kind.kind}
    return [head | each for each in api.listed(kind.api_version, kind.kind, namespace)]


def is_child(found: Values) -> bool:
    """Return whether the operator made an object."""
    return any(name.startswith(API_GROUP) for name in found["metadata"].get("annotations", {}))


def masked(found: Values, namespace: str) -> Any:
    """Return an object without what differs between two equal runs."""
    drawn = DRAWN if found["kind"] in {kind.kind for kind in OURS} else (*DRAWN, "generation")
    metadata = {name: part for name, part in found["metadata"].items() if name not in drawn}
    if (sealed := unsealed(found)) is not None:
        annotations = {name: text for name, text in metadata["annotations"].items() if name != HASH_ANNOTATION}
        metadata["annotations"] = annotations | {APPLIED_ANNOTATION: sealed}
    return _masked({**found, "metadata": metadata}, namespace)


def _masked(value: Any, namespace: str) -> Any:
    if isinstance(value, dict):
        return {name: _part(name, part, namespace) for name, part in value.items() if name not in ADDRESSES}
    if isinstance(value, list):
        return [_masked(part, namespace) for part in value]
    if not isinstance(value, str):
        return value
    if value.startswith("{"):  # the job that a pod reads
        return _masked(json.loads(value), namespace)
    text = value.replace(namespace, "<namespace>")
    return CLUSTER.sub(r"\1-<letters>", UID.sub("<uid>", TIME.sub("<time>", text)))


def _part(name: str, value: Any, namespace: str) -> Any:
    if name in HASHES and value:
        return "<hash>"
    return "<seconds>" if name in MEASURED else _masked(value, namespace)


def _told(api: Rest, namespace: str) -> Iterable[str]:
    for event in api.listed("v1", "Event", namespace):
        if event.get("source", {}).get("component") == FIELD_MANAGER:
            about = event["involvedObject"]
            yield _masked(f"{about['kind']} {about['name']}: {event['reason']}: {event['message']}", namespace)
