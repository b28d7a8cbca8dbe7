"""Where a spec's output is: a file system and a folder in it."""

import os
from collections.abc import Mapping
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from diptych_api.errors import UnsupportedHere
from diptych_api.sources import Claim, Output, StoreSecret
from diptych_diffusion.object_store import SCHEMES, file_system


def locate(
    output: Output, base_dir: Path, mounts: Mapping[str, Path] | None = None
) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of an output and the path of its folder there. Nothing is read or made.

    Relative local paths start at ``base_dir``. ``mounts`` tells where volumes are mounted, by claim.

    Raises:
        UnsupportedHere: for a volume that is not mounted, credentials that are not in the environment, or a place
            that cannot be written to.

    """
    check_credentials(output.credentials, "spec.output")
    if output.uri is None:
        return LocalFileSystem(), str(mounted(output.pvc, mounts or {}, "spec.output"))
    scheme, separator, rest = output.uri.partition("://")
    if not separator or scheme == "file":
        return LocalFileSystem(), str(_absolute(rest if separator else output.uri, base_dir))
    if scheme not in SCHEMES or not rest.strip("/"):
        raise UnsupportedHere(
            f"spec.output.uri: cannot write to {output.uri}.",
            hint="Use a local path, file://, s3://bucket/folder or gs://bucket/folder.",
        )
    return file_system(output.uri)


def check_credentials(credentials: StoreSecret | None, field: str) -> None:
    """Raise UnsupportedHere where a variable is asked for by name and the environment does not have it."""
    if credentials is not None and credentials.key is not None and not os.environ.get(credentials.key):
        raise UnsupportedHere(
            f"{field}.credentials: the environment variable {credentials.key} is not set.",
            hint=f"export {credentials.key}=… On Kubernetes, the Secret {credentials.name} fills it.",
        )


def _absolute(path: str, base_dir: Path) -> Path:
    return (base_dir.absolute() / Path(path).expanduser()).resolve()


def mounted(claim: Claim | None, mounts: Mapping[str, Path], field: str) -> Path:
    """Return the folder of a claim; ``field`` stands in messages.

    Raises:
        UnsupportedHere: when the volume is not mounted here, or the folder is outside of it.

    """
    if claim is None or claim.claim_name not in mounts:
        name = claim.claim_name if claim else ""
        raise UnsupportedHere(
            f"{field}.pvc: the volume {name!r} is not mounted on this machine.",
            hint=f"Here, set {field}.uri to a local path.",
        )
    volume = mounts[claim.claim_name].resolve()
    folder = (volume / claim.path).resolve()
    if not folder.is_relative_to(volume):
        raise UnsupportedHere(f"{field}.pvc.path: {claim.path!r} leaves the volume.")
    return folder
