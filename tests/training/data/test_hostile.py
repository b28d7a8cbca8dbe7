"""Files that mean harm: each is refused, in words, and nothing appears outside the folder it may write to."""

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from diptych_api.dataset import Dataset, Image
from diptych_api.errors import DatasetInvalid
from diptych_diffusion.archive import Limits, extract
from diptych_training.data.layout import read_layout
from diptych_training.data.manifest import prepare
from diptych_training.data.picture import read_picture

CANARY = b"sings"
MEGABYTE = 2**20


@pytest.fixture
def cage(tmp_path: Path) -> Path:
    """Give a folder for the attack; beside it lies a canary that no attack may touch or read."""
    (tmp_path / "canary.png").write_bytes(CANARY)
    (tmp_path / "cage").mkdir()
    return tmp_path / "cage"


def assert_unharmed(cage: Path) -> None:
    assert sorted(p.name for p in cage.parent.iterdir()) == ["cage", "canary.png"]
    assert (cage.parent / "canary.png").read_bytes() == CANARY


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as file:
        for member, content in members:
            file.writestr(member, content)
    return data.getvalue()


def zip_link(target: str) -> bytes:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    return zip_of((link, target.encode()), ("link/canary.png", b"x"))


def encrypted_zip() -> bytes:
    data = bytearray(zip_of(("a.png", b"x")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def overlapping_zip() -> bytes:
    """Return a zip whose 200 names all point at the same 1 MB of zeros."""
    plain = zip_of(("000", bytes(MEGABYTE)))
    start, end = plain.index(b"PK\x01\x02"), plain.index(b"PK\x05\x06")
    entries = b"".join(plain[start : end - 3] + b"%03d" % i for i in range(200))
    return plain[:start] + entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 200, 200, len(entries), start, 0)


def tar_of(*members: tuple[str, bytes | tuple[bytes, str]]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                member.type, member.linkname = content
                file.addfile(member)
            else:
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    return data.getvalue()


def huge_header_tar() -> bytes:
    """Return a tar whose header claims a name of 8 GB."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 * 2**30 - 1
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(2048)


def header_chain_tar() -> bytes:
    """Return a tar of extended headers only, one leading to the next."""
    return tarfile.TarInfo.create_pax_global_header({"comment": "x"}) * 3000 + bytes(1024)


def sparse_tar() -> bytes:
    """Return a tar with one member of 1 TB, all hole."""
    header = tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT)
    raw = bytearray(header)
    raw[156:157] = tarfile.GNUTYPE_SPARSE
    raw[386:410] = b"%011o\0" % 0 + b"%011o\0" % 0
    raw[483:495] = b"\x80" + (2**40).to_bytes(11, "big")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw) + bytes(1024)


ARCHIVES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "zip that climbs": ("zip", lambda: zip_of(("../canary.png", b"x")), "leads up"),
    "zip that climbs later": ("zip", lambda: zip_of(("a/../../canary.png", b"x")), "leads up"),
    "zip with an absolute name": ("zip", lambda: zip_of(("/tmp/canary.png", b"x")), "is absolute"),  # noqa: S108
    "zip with a drive": ("zip", lambda: zip_of(("C:canary.png", b"x")), "is absolute"),
    "zip with backslashes": ("zip", lambda: zip_of(("..\\canary.png", b"x")), "backslash"),
    "zip with a bell": ("zip", lambda: zip_of(("a\x07.png", b"x")), "control character"),
    "zip with an endless name": ("zip", lambda: zip_of(("x" * 300, b"x")), "longer than 255"),
    "zip with a link": ("zip", lambda: zip_link(".."), "is a link or a device"),
    "zip bomb": ("zip", lambda: zip_of(("a.png", bytes(20 * MEGABYTE))), "100 times its own size"),
    "zip of names that share their bytes": ("zip", overlapping_zip, "broken or no zip"),
    "zip with a name twice": ("zip", lambda: zip_of(("a", b"1"), ("./a", b"2")), "twice"),
    "zip with a file as folder": ("zip", lambda: zip_of(("a", b"1"), ("a/b", b"2")), "twice"),
    "zip with a password": ("zip", encrypted_zip, "encrypted"),
    "zip packed by lzma": ("zip", lambda: zip_of(("a", b"1"), method=zipfile.ZIP_LZMA), "not packed by deflate"),
    "zip cut off": ("zip", lambda: zip_of(("a.png", b"x" * 999))[:-30], "broken or no zip"),
    "zip with a wrong sum": (
        "zip",
        lambda: zip_of(("a", b"12345678"), method=zipfile.ZIP_STORED).replace(b"12345678", b"12345679"),
        "broken or no zip",
    ),
    "zip that is text": ("zip", lambda: b"<html>not found</html>", "broken or no zip"),
    "tar that climbs": ("tar", lambda: tar_of(("../canary.png", b"x")), "leads up"),
    "tar with an absolute name": ("tar", lambda: tar_of(("/canary.png", b"x")), "is absolute"),
    "tar with a link out": (
        "tar",
        lambda: tar_of(("l", (tarfile.SYMTYPE, "..")), ("l/canary.png", b"x")),
        "is a link or a device",
    ),
    "tar with a hard link": ("tar", lambda: tar_of(("l", (tarfile.LNKTYPE, "../canary.png"))), "is a link or a device"),
    "tar with a device": ("tar", lambda: tar_of(("d", (tarfile.CHRTYPE, ""))), "is a link or a device"),
    "tar with a pipe": ("tar", lambda: tar_of(("p", (tarfile.FIFOTYPE, ""))), "is a link or a device"),
    "tar with a hole": ("tar", sparse_tar, "is a link or a device"),
    "tar with a huge header": ("tar", huge_header_tar, "a header of 8589934592 bytes"),
    "tar with a chain of headers": ("tar", header_chain_tar, "broken or no tar"),
    "tar cut off": ("tar", lambda: tar_of(("a", b"x" * 512), ("b", b"y"))[:1024], "the end is missing"),
    "tar cut off in a file": ("tar", lambda: tar_of(("a", b"x" * 5120))[:2000], "broken or no tar"),
    "tar with rubbish": ("tar", lambda: tar_of(("a", b""))[:512] + b"?" * 1024, "the end is missing"),
    "tar with bytes as a name": ("tar", lambda: tar_of(("\udcff.png", b"x")), "is not UTF-8"),
    "gz bomb": ("tar.gz", lambda: gzip.compress(tar_of(("a", bytes(20 * MEGABYTE)))), "100 times its own size"),
    "gz cut off": ("tar.gz", lambda: gzip.compress(tar_of(("a", b"x" * 99)))[:-12], "broken or no tar.gz"),
    "gz that is none": ("tar.gz", lambda: tar_of(("a", b"x")), "broken or no tar.gz"),
}


@pytest.mark.parametrize("attack", ARCHIVES)
def test_a_hostile_archive_is_refused(cage: Path, attack: str) -> None:
    kind, make, words = ARCHIVES[attack]
    (cage / f"a.{kind}").write_bytes(make())
    spec = Dataset.model_validate({"source": {"uri": str(cage / f"a.{kind}")}})
    with pytest.raises(DatasetInvalid) as caught:
        prepare(spec, cage / "work", lambda _done, _total: None)
    assert words in caught.value.message
    assert caught.value.hint
    assert list((cage / "work").iterdir()) == [], "nothing of it stays"
    assert_unharmed(cage)


def test_too_many_files_are_refused(cage: Path) -> None:
    archive = io.BytesIO(zip_of(*((f"{i}", b"") for i in range(12))))
    with pytest.raises(DatasetInvalid, match="more than 11 files"):
        extract(archive, "zip", cage, Limits(files=11))


def test_too_many_bytes_are_refused(cage: Path) -> None:
    archive = io.BytesIO(zip_of(("a", bytes(1000)), ("b", bytes(1000)), method=zipfile.ZIP_STORED))
    with pytest.raises(DatasetInvalid, match="more than 1999 bytes"):
        extract(archive, "zip", cage, Limits(total_bytes=1999))


def test_an_honest_archive_may_shrink_a_hundredfold(cage: Path) -> None:
    extract(io.BytesIO(zip_of(("a.bmp", bytes(10 * MEGABYTE)))), "zip", cage)
    assert (cage / "a.bmp").stat().st_size == 10 * MEGABYTE


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def encoded(form: str, **options: bool) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(data, form, **options)
    return data.getvalue()


class Trigger:
    """Would delete the canary if anybody unpickled it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.unlink, (self.canary,))


PICTURES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "png that claims 2.5 gigapixels": (lambda _: png(50_000, 50_000), "more than 32 million"),
    "png of 100 megapixels": (lambda _: png(10_000, 10_000), "more than 32 million"),
    "png of 33 megapixels": (lambda _: png(5_500, 6_000), "5500×6000 pixels, more than 32 million"),
    "png that lacks its pixels": (lambda _: png(64, 64, b"\0" * 99), "cannot be decoded"),
    "png cut off": (lambda _: encoded("PNG")[:-3000], "cannot be decoded"),
    "png of a wrong sum": (lambda _: encoded("PNG")[:60] + b"?" + encoded("PNG")[61:], "cannot be decoded"),
    "jpeg cut off": (lambda _: encoded("JPEG")[:-700], "cannot be decoded: image file is truncated"),
    "webp cut off": (lambda _: encoded("WEBP", lossless=True)[:-3000], "cannot be decoded"),
    "bmp cut off": (lambda _: encoded("BMP")[:-700], "cannot be decoded"),
    "tiff cut off": (lambda _: encoded("TIFF")[:-700], "cannot be decoded"),
    "pickle": (lambda cage: pickle.dumps(Trigger(cage.parent / "canary.png")), "not a picture"),
    "text": (lambda _: b"Dear Sir or Madam,", "not a picture"),
    "web page": (lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "gif": (lambda _: encoded("GIF"), "not a picture"),
    "postscript": (lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "nothing": (lambda _: b"", "empty file"),
}


@pytest.mark.parametrize("attack", PICTURES)
def test_a_hostile_picture_is_refused(cage: Path, attack: str) -> None:
    make, words = PICTURES[attack]
    (cage / "a.png").write_bytes(make(cage))
    with pytest.raises(DatasetInvalid) as caught:
        read_picture(cage / "a.png", Image(size=64))
    assert words in caught.value.message
    assert str(cage / "a.png") in caught.value.message
    assert_unharmed(cage)


def test_an_oversize_file_is_refused_without_being_read(cage: Path) -> None:
    with (cage / "a.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DatasetInvalid, match="1099511627776 bytes, more than 33554432"):
        read_picture(cage / "a.png", Image())


def test_a_pipe_is_refused_without_waiting(cage: Path) -> None:
    os.mkfifo(cage / "a.png")
    with pytest.raises(DatasetInvalid, match="not a regular file"):
        read_picture(cage / "a.png", Image())


NAMES: dict[str, tuple[str, str]] = {
    "a path that climbs": ("../canary.png", "outside"),
    "a path that climbs later": ("sub/../../canary.png", "outside"),
    "an absolute path": ("{outside}/canary.png", "outside"),
    "an absolute path that climbs": ("{root}/../canary.png", "outside"),
    "a link out of the root": ("link.png", "outside"),
    "a folder link out of the root": ("folder/canary.png", "outside"),
    "a loop of links": ("loop.png", "not a usable file name"),
    "a NUL": ("a.png\0.txt", "not a usable file name"),
    "an endless name": ("x" * 5000, "not a usable file name"),
    "a broken letter": ("\ud800.png", "not a usable file name"),
    "a pipe": ("pipe", "not a regular file"),
    "a device": ("/dev/zero", "outside"),
}


@pytest.mark.parametrize("attack", NAMES)
def test_a_hostile_name_in_a_manifest_is_rejected(cage: Path, attack: str) -> None:
    (cage / "link.png").symlink_to("../canary.png")
    (cage / "folder").symlink_to("..")
    (cage / "loop.png").symlink_to("loop.png")
    (cage / "sub").mkdir()
    os.mkfifo(cage / "pipe")
    name, words = NAMES[attack]
    row = {"file_name": name.format(outside=cage.parent, root=cage), "text": "x"}
    (cage / "metadata.jsonl").write_text(json.dumps(row))
    samples, rejected = read_layout(cage, Dataset.model_validate({"source": {"uri": str(cage)}}))
    assert samples == []
    assert words in rejected[0].reason
    json.dumps(rejected[0].key).encode()
    assert_unharmed(cage)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_a_manifest_that_is_a_link_out_of_the_root_is_refused(cage: Path, name: str) -> None:
    (cage / name).symlink_to("../canary.png")
    with pytest.raises(DatasetInvalid, match="outside"):
        read_layout(cage, Dataset.model_validate({"source": {"uri": str(cage)}}))
