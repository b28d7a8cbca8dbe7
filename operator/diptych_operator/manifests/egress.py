"""What pods of ours may talk to, as parts of a NetworkPolicy."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from diptych_operator.kinds import Manifest

METADATA_SERVICE: Final = "169.254.169.254/32"
METADATA_SERVICE_6: Final = "fd00:ec2::254/128"
"""Both hand out the node's credentials to whoever asks."""
DNS_PORT: Final = 53
HTTPS: Final = 443
API_SERVER: Final = (443, 6443)
"""A policy cannot name the API server; these are the ports that it listens on."""
DEFAULT_PORTS: Final = {"http": 80, "https": HTTPS}


def to_dns() -> Manifest:
    """Return the rule that lets names be looked up, wherever the cluster's DNS is."""
    return {"ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]}


def to_pods(labels: Mapping[str, str]) -> Manifest:
    """Return the rule for every port of the pods with these labels."""
    return {"to": [{"podSelector": {"matchLabels": dict(labels)}}]}


def to_anywhere(ports: Iterable[int]) -> Manifest:
    """Return the rule for TCP ports of any address but that of the cloud's metadata service."""
    blocks: list[Manifest] = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": [METADATA_SERVICE]}},
        {"ipBlock": {"cidr": "::/0", "except": [METADATA_SERVICE_6]}},
    ]
    return {"to": blocks, "ports": [{"protocol": "TCP", "port": port} for port in sorted(set(ports))]}


def from_namespace(name: str, *ports: int) -> Manifest:
    """Return the rule that lets the pods of a namespace in."""
    labels = {"kubernetes.io/metadata.name": name}
    return {
        "from": [{"namespaceSelector": {"matchLabels": labels}}],
        "ports": [{"protocol": "TCP", "port": port} for port in ports],
    }


def from_pods(labels: Mapping[str, str]) -> Manifest:
    """Return the rule that lets pods with these labels in, to every port."""
    return {"from": [{"podSelector": {"matchLabels": dict(labels)}}]}


def ports_of(uris: Iterable[str | None]) -> set[int]:
    """Return the ports that URIs name or mean; of what is no URI, none."""
    found: set[int] = set()
    for uri in filter(None, uris):
        with suppress(ValueError):
            parts = urlsplit(uri)
            found |= {port for port in (parts.port or DEFAULT_PORTS.get(parts.scheme),) if port}
    return found
