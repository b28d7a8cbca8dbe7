"""An API server in memory: the twin of Kube, for tests that need thousands of clusters.

It knows what the operator relies on: server-side apply that keeps what others wrote, uids, resourceVersions, status
that only write_status writes, deletion with a uid, garbage collection of what an object owns. It knows no schema.
"""

import copy
import itertools
from collections.abc import Callable
from typing import Any

from diptych_operator.cluster import Conflict
from diptych_operator.kinds import Kind, Manifest, Ref, ref_of
from diptych_operator.plan import Delete

Change = tuple[str, Manifest]
"""ADDED, MODIFIED or DELETED, and the object."""


class Memory:
    """A Cluster without a server. `on_change` hears what a watch would tell; `clock` dates what is made."""

    def __init__(self, on_change: Callable[[Change], None] = lambda _: None, *, clock: Callable[[], str]) -> None:
        self.objects: dict[Ref, Manifest] = {}
        self.events: dict[str, Manifest] = {}
        self.writes: list[str] = []
        """Every write that changed something, in order: verb and object."""
        self._numbers = itertools.count(1)
        self._on_change = on_change
        self._clock = clock

    async def get(self, ref: Ref) -> Manifest | None:
        """Return an object."""
        return copy.deepcopy(self.objects.get(ref))

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        """Return objects by kind, namespace and labels; fields select by name alone."""
        wanted = dict(part.split("=", 1) for part in labels.split(",") if part)
        named = fields.removeprefix("metadata.name=") if fields.startswith("metadata.name=") else ""
        return [
            copy.deepcopy(found)
            for ref, found in sorted(self.objects.items(), key=lambda item: str(item[0]))
            if ref.kind == kind
            and namespace in (None, ref.namespace)
            and (not named or ref.name == named)
            and wanted.items() <= found["metadata"].get("labels", {}).items()
        ]

    async def apply(self, manifest: Manifest) -> Manifest:
        """Merge a manifest into the stored object, or make it."""
        ref = ref_of(manifest)
        old = self.objects.get(ref)
        new = _merged(old or {}, copy.deepcopy(manifest))
        if old is None:
            new["metadata"] |= {
                "uid": f"uid-{next(self._numbers)}",
                "creationTimestamp": self._clock(),
                "generation": 1,
            }
        elif old.get("spec") != new.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if old != new:
            self.put(new, "apply")
        return copy.deepcopy(self.objects[ref])

    async def delete(self, delete: Delete) -> None:
        """Delete an object of this uid and what it owns."""
        found = self.objects.get(delete.ref)
        if found is not None and found["metadata"]["uid"] == delete.uid:
            self.remove(delete.ref)

    async def write_status(self, ref: Ref, version: str, changes: dict[str, Any]) -> Manifest:
        """Merge into the status."""
        found = self.objects.get(ref)
        if found is None or found["metadata"]["resourceVersion"] != version:
            raise Conflict(f"{ref} changed.")
        status = _merged(found.get("status", {}), copy.deepcopy(changes))
        if status != found.get("status", {}):
            self.put({**found, "status": status}, "status")
        return copy.deepcopy(self.objects[ref])

    async def tell(self, event: Manifest) -> None:
        """Keep an Event, once."""
        if event["metadata"]["name"] not in self.events:
            self.events[event["metadata"]["name"]] = event
            self.writes.append(f"event {event['reason']}")

    def put(self, manifest: Manifest, verb: str = "user") -> None:
        """Store an object as it is, with a new resourceVersion, as another client would."""
        ref = ref_of(manifest)
        new = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(next(self._numbers))}}
        known = ref in self.objects
        self.objects[ref] = new
        self.writes.append(f"{verb} {ref}")
        self._on_change(("MODIFIED" if known else "ADDED", copy.deepcopy(new)))

    def remove(self, ref: Ref) -> None:
        """Delete an object and, as the garbage collector does, all that it owns."""
        found = self.objects.pop(ref)
        self.writes.append(f"delete {ref}")
        self._on_change(("DELETED", copy.deepcopy(found)))
        uid = found["metadata"]["uid"]
        for owned, child in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in child["metadata"].get("ownerReferences", ())):
                self.remove(owned)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            below = old.get(name)
            merged[name] = _merged(below if isinstance(below, dict) else {}, value)
        else:
            merged[name] = value
    return merged
