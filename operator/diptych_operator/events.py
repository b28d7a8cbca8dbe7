"""Kubernetes Events from notes. A name is made of what is said, so that a note told again is the same Event."""

import hashlib
from datetime import datetime
from typing import Final

from diptych_api.names import FIELD_MANAGER
from diptych_operator.kinds import EVENT, Manifest, Ref
from diptych_operator.plan import Note

LONGEST_MESSAGE: Final = 1024
"""Of an Event, as the API server has it."""


def event(note: Note, ref: Ref, uid: str, now: datetime) -> Manifest:
    """Return the Event of a note about a resource."""
    said = hashlib.sha256(f"{uid}\n{note.reason}\n{note.key}\n{note.message}".encode()).hexdigest()[:16]
    time = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{ref.name}.{said}", "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": ref.kind.api_version,
            "kind": ref.kind.kind,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": uid,
        },
        "type": note.type,
        "reason": note.reason,
        "message": note.message[:LONGEST_MESSAGE],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
