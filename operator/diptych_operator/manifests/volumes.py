"""Volumes of pods and where containers see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from diptych_api.cluster import Pods
from diptych_api.quantities import whole_bytes
from diptych_operator.kinds import Manifest

CLAIMS: Final = "/mnt/claims"
HOME: Final = "/home/diptych"
SHARED_MEMORY_SHARE: Final = 2
"""Half of a pod's memory at most may be shared memory: Ray's object store takes 30 %, the rest is for NCCL."""
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume and its place in a container."""

    name: str
    source: Manifest
    """The volume's kind and settings, such as {"emptyDir": {}}."""
    path: str
    read_only: bool = False
    sub_path: str = ""

    @property
    def volume(self) -> Manifest:
        """Return it as it stands among a pod's volumes."""
        return {"name": self.name, **self.source}

    @property
    def place(self) -> Manifest:
        """Return it as it stands among a container's volumeMounts."""
        options = {"readOnly": self.read_only, "subPath": self.sub_path}
        return {"name": self.name, "mountPath": self.path} | {name: value for name, value in options.items() if value}


def claim_folder(claim: str) -> str:
    """Return where pods see a PersistentVolumeClaim. Jobs and deployments agree, so that paths hold in both."""
    return f"{CLAIMS}/{claim}"


def claim_mounts(claims: Mapping[str, bool]) -> tuple[Mount, ...]:
    """Return the mounts of whole claims; the value says whether pods may write."""
    return tuple(
        _claim(f"claim-{number}", name, claim_folder(name), read_only=not claims[name])
        for number, name in enumerate(sorted(claims))
    )


def extra_mounts(pods: Pods) -> tuple[Mount, ...]:
    """Return the mounts that the spec asks for besides."""
    return tuple(
        _claim(
            f"volume-{number}",
            volume.claim.claim_name,
            volume.mount_path,
            read_only=volume.read_only,
            sub_path="" if volume.claim.path == "." else volume.claim.path,
        )
        for number, volume in enumerate(pods.volumes)
    )


def scratch_mounts(memory: str) -> tuple[Mount, ...]:
    """Return what a program may write to when the image is read-only: /tmp, its home and shared memory."""
    shared = max(whole_bytes(memory) // SHARED_MEMORY_SHARE // MIB, 1)
    return (
        Mount("tmp", {"emptyDir": {}}, "/tmp"),  # noqa: S108 - a folder of the pod's own
        Mount("home", {"emptyDir": {}}, HOME),
        Mount("shared-memory", {"emptyDir": {"medium": "Memory", "sizeLimit": f"{shared}Mi"}}, "/dev/shm"),  # noqa: S108
    )


def _claim(name: str, claim: str, path: str, *, read_only: bool, sub_path: str = "") -> Mount:
    source: Manifest = {"persistentVolumeClaim": {"claimName": claim}}
    if read_only:
        source["persistentVolumeClaim"]["readOnly"] = True
    return Mount(name, source, path, read_only=read_only, sub_path=sub_path)
