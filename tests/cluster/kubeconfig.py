"""Kubeconfig files: one server, one user, everything inside the file."""

import base64
from pathlib import Path

import yaml

from cluster.certificates import Pair


def write_kubeconfig(path: Path, url: str, authority: Path, user: Pair | str, namespace: str = "default") -> Path:
    """Write a kubeconfig for a user with a certificate or a token. Return the path."""
    credentials = {"token": user} if isinstance(user, str) else _certificate(user)
    server = {"server": url, "certificate-authority-data": _encoded(authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "diptych", "cluster": server}],
        "users": [{"name": "user", "user": credentials}],
        "contexts": [{"name": "diptych", "context": {"cluster": "diptych", "user": "user", "namespace": namespace}}],
        "current-context": "diptych",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def _certificate(pair: Pair) -> dict[str, str]:
    return {"client-certificate-data": _encoded(pair.certificate), "client-key-data": _encoded(pair.key)}


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
