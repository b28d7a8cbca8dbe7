"""What a control plane is for: for tests that need no nodes, or for nodes too."""

from dataclasses import dataclass

from cluster.ports import free_port

LOOPBACK = "127.0.0.1"
WITHOUT_NODES = (
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "ttl-after-finished-controller",
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where the API server listens, which controllers run, and the addresses that nodes give to their pods."""

    address: str = LOOPBACK
    port: int | None = None
    controllers: tuple[str, ...] = WITHOUT_NODES
    pods: str = ""

    @property
    def has_nodes(self) -> bool:
        """Return whether nodes can reach it."""
        return self.address != LOOPBACK

    def free_port(self) -> int:
        """Return the API server's port: the one that was asked for, or any."""
        return self.port or free_port()
