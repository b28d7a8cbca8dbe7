"""Images as OCI layouts: folders with an index and blobs, made from a few files or read, and sent as a tar stream."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster.objects import Values

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
NAME = "io.containerd.image.name"  # containerd's own annotation
CHUNK = 2**20
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Image:
    """A reference, the description of its manifest, and the blobs by digest."""

    reference: str
    manifest: Values
    blobs: Mapping[str, bytes | Path]

    @property
    def digest(self) -> str:
        """Return the digest of the manifest, by which containerd knows it."""
        return str(self.manifest["digest"])


def from_scratch(reference: str, files: Mapping[str, Path | str], run: Sequence[str], user: str = "0:0") -> Image:
    """Return an image of some programs, and of links where a name stands for the file. Same files, same digest."""
    layer = _layer(files)
    settings = {"Entrypoint": list(run), "User": user, "Env": ["PATH=/bin"]}
    config = _json(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    layers, described = [_described(LAYER, layer)], _described(CONFIG, config)
    manifest = _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers})
    blobs = {_digest(blob): blob for blob in (layer, config, manifest)}
    return Image(reference, _described(MANIFEST, manifest), blobs)


def from_layout(reference: str, folder: Path) -> Image:
    """Return the one image of a layout."""
    [manifest] = json.loads((folder / "index.json").read_text(encoding="utf-8"))["manifests"]
    parts = json.loads(blob_path(folder, manifest["digest"]).read_bytes())
    digests = [manifest["digest"], parts["config"]["digest"], *(layer["digest"] for layer in parts["layers"])]
    return Image(reference, manifest, {digest: blob_path(folder, digest) for digest in digests})


def send(images: Sequence[Image], known: Container[str], stream: IO[bytes]) -> None:
    """Write images as one tar stream, without the blobs whose digests are known where it goes.

    A blob that is a file is removed once it is sent: layers are so large that three copies may not fit.
    """
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [_named(image) for image in images]}
    blobs = {digest: blob for image in images for digest, blob in image.blobs.items() if digest not in known}
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json(index))
        for digest, blob in blobs.items():
            _add(tar, str(blob_path(Path(), digest)), blob)
            if isinstance(blob, Path):
                blob.unlink()


def blob_path(folder: Path, digest: str) -> Path:
    """Return where a layout has a blob."""
    return folder / "blobs" / digest.replace(":", "/")


def _named(image: Image) -> Values:
    return image.manifest | {"annotations": {NAME: image.reference}}


def _add(tar: tarfile.TarFile, name: str, blob: bytes | Path) -> None:
    member = tarfile.TarInfo(name)
    with io.BytesIO(blob) if isinstance(blob, bytes) else blob.open("rb") as content:
        member.size = content.seek(0, io.SEEK_END)
        content.seek(0)
        tar.addfile(member, content)


def _layer(files: Mapping[str, Path | str]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, source in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if isinstance(source, str):
                member.type, member.linkname = tarfile.SYMTYPE, source
                tar.addfile(member)
            else:
                content = source.read_bytes()
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return held.getvalue()


def _json(value: Values) -> bytes:
    return json.dumps(value).encode()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _described(kind: str, blob: bytes) -> Values:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}
