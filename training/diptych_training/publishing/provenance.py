"""provenance.json: what an artifact was made of and by what, in digests."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from diptych_api.artifact import ArtifactRecord, files_digest
from diptych_api.runstore import RunRecord, immutable_json

IMAGE: Final = "DIPTYCH_IMAGE"
"""Environment variable with the image of the pods; the operator sets it."""


def provenance(record: RunRecord, artifact: ArtifactRecord, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return where an artifact comes from. Nothing in it changes when it is asked for again."""
    source = record.spec.dataset.source.model_dump(mode="json", by_alias=True, exclude_none=True)
    for place in (source, *source.values()):
        if isinstance(place, dict):
            place.pop("token", None)
            place.pop("credentials", None)
    return {
        "format": "diptych.provenance/1",
        "run": f"{record.namespace}/{record.run}",
        "created": artifact.created.isoformat(),
        "artifact": {"digest": files_digest(artifact.files), "step": artifact.step},
        "base": artifact.base.model_dump(mode="json", by_alias=True, exclude_none=True),
        "dataset": {"source": source, "digest": artifact.dataset_digest},
        "spec": f"sha256:{hashlib.sha256(immutable_json(record.spec).encode()).hexdigest()}",
        "code": dict(sorted(record.versions.items())),
        "image": environ.get(IMAGE),
    }
