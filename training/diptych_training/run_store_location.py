"""Where a spec's output is: a file system and a folder in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from diptych_api.errors import UnsupportedHere
from diptych_api.sources import Claim, Output

PACKAGES: Final = {"s3": "s3fs", "gs": "gcsfs"}
"""Object stores by scheme, and the Python package that speaks to each."""


def locate(
    output: Output, base_dir: Path, mounts: Mapping[str, Path] | None = None
) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of an output and the path of its folder there. Nothing is read or made.

    Relative local paths start at ``base_dir``. ``mounts`` tells where volumes are mounted, by claim.

    Raises:
        UnsupportedHere: for a volume that is not mounted, credentials of a Secret, or an object store whose package
            is missing.

    """
    if output.credentials is not None:
        raise UnsupportedHere(
            "spec.output.credentials: Secrets are read on Kubernetes only.",
            hint="Here, leave it out and set what the store's own tools read, such as AWS_ACCESS_KEY_ID.",
        )
    if output.uri is None:
        return LocalFileSystem(), str(mounted(output.pvc, mounts or {}, "spec.output"))
    scheme, separator, rest = output.uri.partition("://")
    if not separator or scheme == "file":
        return LocalFileSystem(), str(_absolute(rest if separator else output.uri, base_dir))
    if scheme not in PACKAGES:
        raise UnsupportedHere(
            f"spec.output.uri: cannot write to {scheme}://.", hint="Use a local path, file://, s3:// or gs://."
        )
    try:
        return fsspec.filesystem(scheme), rest.rstrip("/")
    except ImportError as error:
        package = PACKAGES[scheme]
        raise UnsupportedHere(
            f"spec.output.uri: {scheme}:// needs the Python package {package}.",
            hint=f"Install it: uv pip install {package}",
        ) from error


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
