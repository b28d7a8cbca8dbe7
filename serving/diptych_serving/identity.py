"""Who asks: address, session, API key."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from diptych_serving.rate_limit import Client

SESSION_HEADERS: Final = ("x-session-id", "x-gradio-session")
PAGE_HEADER: Final = "x-diptych-page"
"""Holds what the gateway gave the page, which asks on behalf of its visitors."""
LONGEST_SESSION: Final = 128
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_of(peer: str, headers: Mapping[str, str], trusted: Iterable[str], session: str | None = None) -> Client:
    """Return the client; ``headers`` have lower-case names. ``session`` is one that the request's body names."""
    return Client(address_of(peer, headers.get("x-forwarded-for", ""), trusted), session_of(headers, session))


def session_of(headers: Mapping[str, str], session: str | None) -> str | None:
    """Return the session that the headers name, else the one of the body, or None."""
    named = [headers.get(name, "").strip() for name in SESSION_HEADERS]
    chosen = next((name for name in [*named, session or ""] if name), "")
    return chosen[:LONGEST_SESSION] or None


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; one that came several times has all its values, with commas (RFC 9110)."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return {name: ",".join(values) for name, values in found.items()}


def grpc_address(peer: str) -> str:
    """Return the address of such as ipv4:1.2.3.4:5678 or ipv6:%5B::1%5D:5678."""
    return unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]")


def address_of(peer: str, forwarded: str, trusted: Iterable[str]) -> str:
    """Return the client's address: the last one in X-Forwarded-For that is no trusted proxy.

    Each proxy appends the address it was called from, so names left of an untrusted one may be made up. Without
    trusted proxies the header has no say.
    """
    networks = [network for network in map(network_of, trusted) if network is not None]
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    address = peer
    while hops and _is_in(address, networks):
        hop = hops.pop()
        if _parsed(hop) is None:
            break
        address = hop
    return address


def network_of(text: str) -> Network | None:
    """Return the network, or None for what is none."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
