"""Children carry what was last applied to them, so that an edit by others shows, and an upgrade changes nothing.

The annotation `diptych.dev/applied` holds the manifest, compressed; `diptych.dev/config-hash` its hash.
"""

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic_core import from_json

from diptych_api.fields import API_GROUP
from diptych_api.names import HASH_ANNOTATION
from diptych_operator.kinds import Manifest

APPLIED_ANNOTATION: Final = f"{API_GROUP}/applied"
LARGEST: Final = 1 << 20
"""Bytes of a manifest that is unpacked; the API server takes no larger object."""
EXTENDED: Final = frozenset({"tolerations", "schedulingGates"})
"""Lists that queueing systems add to."""


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    """Return 16 hex digits over a manifest."""
    return _hash(_text(manifest))


def sealed(manifest: Manifest) -> Manifest:
    """Return a manifest with itself and its hash in its annotations."""
    packed = base64.b64encode(zlib.compress(_text(manifest), 9)).decode("ascii")
    metadata = manifest["metadata"]
    marks = {HASH_ANNOTATION: manifest_hash(manifest), APPLIED_ANNOTATION: packed}
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **marks}}}


def unsealed(child: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest that was last applied to an object; None where its annotation is missing or damaged."""
    return _unpacked(_marks(child).get(APPLIED_ANNOTATION, ""))[1]


def drifted(child: Mapping[str, Any]) -> bool:
    """Whether an object no longer has all that was applied to it. What others added does not count."""
    marks = _marks(child)
    found_hash, manifest = _unpacked(marks.get(APPLIED_ANNOTATION, ""))
    return manifest is None or marks.get(HASH_ANNOTATION) != found_hash or not _covers(child, manifest)


def _marks(child: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = child.get("metadata", {}).get("annotations", {})
    return found


@lru_cache(maxsize=16)
def _unpacked(packed: str) -> tuple[str, Manifest | None]:
    """Return hash and manifest of an annotation. Nobody may change it: one look at a resource asks more than once."""
    try:
        text = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), LARGEST)
        manifest = from_json(text)
    except (binascii.Error, ValueError, zlib.error):
        return "", None
    return (_hash(text), manifest) if isinstance(manifest, dict) else ("", None)


def _covers(found: Any, wanted: Any, name: str = "") -> bool:  # noqa: ANN401 - any part of an object
    """Whether `found` has everything of `wanted`: keys may be added, and lists have the same items."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_covers(found.get(key), part, key) for key, part in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(found, list):
            return not wanted and found is None
        if name in EXTENDED:
            return all(any(_covers(item, part) for item in found) for part in wanted)
        return len(found) == len(wanted) and all(map(_covers, found, wanted))
    return bool(found == wanted)


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def _text(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
