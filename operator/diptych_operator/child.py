"""What the operator sees of its children and of the pods below them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from diptych_api.names import HASH_ANNOTATION
from diptych_operator.kinds import Kind, Manifest, Ref, kind_of
from diptych_operator.plan import Apply, Delete
from diptych_operator.sealing import drifted, manifest_hash, sealed, unsealed


def moment(text: str | None) -> datetime | None:
    """Return a time as Kubernetes writes it."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True, slots=True)
class Child:
    """An object that belongs to a resource of ours."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    hash: str = ""
    """Of the manifest that was last applied; empty when we did not."""
    owner_uid: str = ""
    """Uid of the controller that its ownerReferences name."""
    generation: int = 0
    created: datetime | None = None
    deleting: bool = False
    drifted: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Manifest) -> "Child":
        """Return what matters of an object."""
        metadata = found["metadata"]
        owners = [owner["uid"] for owner in metadata.get("ownerReferences", ()) if owner.get("controller")]
        annotations = metadata.get("annotations") or {}
        return cls(
            kind=kind_of(found),
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            uid=metadata["uid"],
            hash=annotations.get(HASH_ANNOTATION, ""),
            owner_uid=owners[0] if owners else "",
            generation=metadata.get("generation", 0),
            created=moment(metadata.get("creationTimestamp")),
            deleting="deletionTimestamp" in metadata,
            drifted=found["drifted"] if "drifted" in found else drifted(found),
            annotations=annotations,
            labels=metadata.get("labels") or {},
            status=found.get("status") or {},
        )

    @property
    def ref(self) -> Ref:
        """Return which object it is."""
        return Ref(self.kind, self.namespace, self.name)

    @property
    def applied(self) -> Manifest | None:
        """Return the manifest that was last applied to it; None where that is lost."""
        return unsealed({"metadata": {"annotations": self.annotations}})

    @property
    def delete(self) -> Delete:
        """Return the action that deletes it and nothing newer."""
        return Delete(self.ref, self.uid)


def settle(child: Child | None, wanted: Manifest, *, known: bool = False) -> tuple[Apply, ...]:
    """Return what brings a child to a manifest: nothing when it is there already.

    A child that is being deleted is left until it is gone. `known` says that it had been there before, so that making
    it again is a repair.
    """
    if child is None:
        return (Apply(sealed(wanted), repairs=known),)
    if child.deleting or (child.hash == manifest_hash(wanted) and not child.drifted):
        return ()
    return (Apply(sealed(wanted), repairs=child.hash == manifest_hash(wanted)),)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a job or a deployment. `status` is its status as Kubernetes has it."""

    name: str
    uid: str
    labels: Mapping[str, str]
    created: datetime | None
    deleting: bool
    node: str
    status: Mapping[str, Any]

    @classmethod
    def of(cls, found: Manifest) -> "Pod":
        """Return what matters of a pod."""
        metadata = found["metadata"]
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            labels=metadata.get("labels") or {},
            created=moment(metadata.get("creationTimestamp")),
            deleting="deletionTimestamp" in metadata,
            node=found.get("spec", {}).get("nodeName", ""),
            status=found.get("status") or {},
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """A warning of Kubernetes about a child or a pod, from its Events."""

    kind: str
    name: str
    reason: str
    message: str
