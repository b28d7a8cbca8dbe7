"""The command that installs Diptych on a node of two cores."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.node.access import Access

HOME = "diptych-system"
CHOSEN = "--set ray.headCpus=250m,ray.headMemory=3Gi"
"""A node of two cores has room for a head and a worker."""


def install(node: "Access", how: str = "install", more: str = "") -> str:
    """Return the command that installs or upgrades Diptych."""
    operator, ray = node.load(node.images.operator), node.load(node.images.ray)
    repository, _, tag = operator.rpartition(":")
    images = f"--set image.repository={repository},image.tag={tag},ray.image={ray}"
    return (
        f"helm {how} diptych charts/diptych -n {HOME} --create-namespace {images} {CHOSEN} {more} --wait --timeout 5m"
    )
