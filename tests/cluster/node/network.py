"""The addresses of a node, and the cable between this machine and the node's network."""

import contextlib
from pathlib import Path

from cluster.node.commands import output
from cluster.node.namespaces import Namespaces
from diptych_api.errors import RunFailed

HERE, NODE = "10.250.0.1", "10.250.0.2"
PODS = "10.250.1.0/24"
DNS = "10.96.0.10"
OURS, THEIRS = "diptych0", "eth0"


def connect(namespaces: Namespaces) -> None:
    """Join the node's network to this machine's. Whatever the node does not know goes by way of this machine."""
    disconnect()  # the kernel may not have got round to the end of the last one
    _here("link", "add", OURS, "type", "veth", "peer", "name", THEIRS, "netns", str(namespaces.first_process))
    _here("address", "add", f"{HERE}/30", "dev", OURS)
    _here("link", "set", OURS, "up")
    for device in ("lo", THEIRS):
        namespaces.run("ip", "link", "set", device, "up")
    namespaces.run("ip", "address", "add", f"{NODE}/30", "dev", THEIRS)
    namespaces.run("ip", "route", "add", "default", "via", HERE)
    # Packets from pod to pod cross a bridge only, and Services and policies are rules for what is routed.
    namespaces.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")


def disconnect() -> None:
    """Take the cable away, if it is there."""
    if Path("/sys/class/net", OURS).exists():
        with contextlib.suppress(RunFailed):  # gone by itself
            _here("link", "delete", OURS)


def _here(*arguments: str) -> None:
    output(["ip", *arguments])
