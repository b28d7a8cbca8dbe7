"""Archives over https and from object stores: downloaded, compared with their checksum, unpacked once."""

import tempfile
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from diptych_api.errors import BaseInvalid, DatasetInvalid, UnsupportedHere
from diptych_diffusion.archive import SUFFIXES, Kind, Limits, extract, kind_of
from diptych_diffusion.download import download, public
from diptych_diffusion.staging import full_disk_named, is_complete, staged, top


def fetched(uri: str, kind: Kind, sha256: str | None, workdir: Path) -> Path:
    """Return the folder of an archive's files below ``workdir``; one that is there is not downloaded again.

    Raises:
        DatasetInvalid: for what is missing, refused, too large, unsafe, or has another checksum.
        RetryLater: where the network fails.

    """
    if sha256 is not None and is_complete(workdir / sha256):
        return top(workdir / sha256)
    with tempfile.TemporaryFile(dir=workdir) as file:  # without a name: a kill leaves nothing behind
        found = download(uri, file, Limits().total_bytes)
        compare(public(uri), found, sha256)
        return unpacked(file, kind, workdir / found)


def unpacked(archive: IO[bytes], kind: Kind, final: Path) -> Path:
    """Return the folder of an open archive's files, whose name is that of its contents."""
    if not is_complete(final):
        with staged(final) as folder:
            extract(archive, kind, folder)
    return top(final)


def compare(name: str, found: str, wanted: str | None) -> None:
    """Raise DatasetInvalid where the checksum is not the one of the spec."""
    if wanted is not None and found != wanted:
        raise DatasetInvalid(
            f"The SHA-256 of {name} is {found}, but the spec says {wanted}.",
            hint="The archive changed or is not the one you mean: check it, then correct sha256.",
        )


def base_from_archive(uri: str, sha256: str | None, cache_dir: Path, *, only_configs: bool = False) -> Path:
    """Return the pipeline's folder in an archive over https.

    Raises:
        BaseInvalid: as DatasetInvalid of a data set.
        UnsupportedHere: with ``only_configs``, for an archive comes as a whole.
        StoreUnwritable: when the disk is full.
        RetryLater: where the network fails.

    """
    kind, workdir = kind_of(urlsplit(uri).path), cache_dir / "archives"
    if kind is None:
        raise BaseInvalid(
            f"spec.base.uri: {public(uri)} is no archive.", hint=f"Its name must end in {', '.join(SUFFIXES)}."
        )
    if only_configs and not is_complete(workdir / str(sha256)):
        raise UnsupportedHere(
            f"{public(uri)} can be looked into only when all of it was downloaded.", hint="Run the job, or unpack it."
        )
    with full_disk_named(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        try:
            return fetched(uri, kind, sha256, workdir)
        except DatasetInvalid as error:
            raise BaseInvalid(error.message, hint="Check spec.base.uri and spec.base.sha256.") from error
