"""Name, labels and owner of the objects that the operator makes for a resource."""

from collections.abc import Mapping

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.finetunejob import FineTuneJob
from diptych_api.names import labels
from diptych_operator.kinds import Kind, Manifest


def head(
    kind: Kind,
    owner: FineTuneJob | DiffusionDeployment,
    name: str,
    *,
    annotations: Mapping[str, str] | None = None,
    extra_labels: Mapping[str, str] | None = None,
) -> Manifest:
    """Return apiVersion, kind and metadata of a child: it goes with its owner and is found by its labels."""
    metadata: Manifest = {
        "name": name,
        "namespace": owner.metadata.namespace,
        "labels": {**(extra_labels or {}), **labels_of(owner)},
        "ownerReferences": [owner_reference(owner)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def labels_of(owner: FineTuneJob | DiffusionDeployment) -> dict[str, str]:
    """Return the labels of everything that belongs to a resource, its pods too."""
    uid, name = owner.metadata.uid or "", owner.metadata.name
    return labels(uid, job=name) if isinstance(owner, FineTuneJob) else labels(uid, deployment=name)


def owner_reference(owner: FineTuneJob | DiffusionDeployment) -> Manifest:
    """Return the reference by which the garbage collector deletes a child with its owner."""
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
