"""A token of the pod's account for one container: short-lived, where clients look for it."""

from typing import Final

from diptych_operator.kinds import Manifest
from diptych_operator.manifests.volumes import Mount

TOKEN_VOLUME: Final = "api-token"  # noqa: S105 - name of a volume
TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder
TOKEN_SECONDS: Final = 3607


def service_token() -> Mount:
    """Return the volume with token, certificate and namespace, and its place."""
    sources: list[Manifest] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return Mount(TOKEN_VOLUME, {"projected": {"sources": sources}}, TOKEN_FOLDER, read_only=True)
