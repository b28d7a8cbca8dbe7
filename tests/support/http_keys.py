"""API keys of a deployment that reads them from TEST_API_KEYS."""

import hashlib
from typing import Any

from support.http_requests import DEFAULTS

KEYED: dict[str, Any] = {"defaults": DEFAULTS, "auth": {"apiKeys": {"name": "keys", "key": "TEST_API_KEYS"}}}


def key(name: str, *scopes: str) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": list(scopes)}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}
