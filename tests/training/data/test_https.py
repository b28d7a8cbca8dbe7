"""Archives over https, from a server with a certificate of our own that drops lines when told to."""

import hashlib
import io
import shutil
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import fsspec
import numpy as np
import pytest
from fsspec.implementations.http import HTTPFileSystem

from diptych_api.errors import BaseInvalid, DatasetInvalid, RetryLater, UnsupportedHere
from diptych_api.sources import Base, DatasetSource
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.pipeline import load
from diptych_training.data.source import open_source
from support.tiny_models import make_pipeline

MEGABYTE = 2**20


@dataclass
class Server:
    """What the test's web server does, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    """How many bytes of each next answer are sent before the line drops; -1 for all."""
    ranges: bool = True
    asked: list[str] = field(default_factory=list)
    """The Range header of each GET."""


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
            """Stay quiet."""

        def do_HEAD(self) -> None:
            self._answer(None)

        def do_GET(self) -> None:
            server.asked.append(self.headers.get("Range", ""))
            cut = server.cuts.pop(0) if server.cuts else -1
            self._answer(cut)

        def _answer(self, cut: int | None) -> None:
            data = server.files.get(self.path.partition("?")[0])
            status = server.status.get(self.path, 200 if data is not None else 404)
            wanted = self.headers.get("Range", "").removeprefix("bytes=").split("-")
            if data is not None and status == 200 and server.ranges and wanted[0]:
                data, status = data[int(wanted[0]) : int(wanted[1]) + 1], 206
            body = data if data is not None and status < 400 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if cut is not None:
                self.wfile.write(body if cut < 0 else body[:cut])
                self.close_connection = True

    return Handler


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a self-signed certificate for 127.0.0.1, key and all in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = ["openssl", "req", "-x509", *key, "-keyout", str(path), "-out", f"{path}.crt", "-days", "2", *subject]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Start an https server that fsspec trusts for the length of the test."""
    told = Server()
    web = ThreadingHTTPServer(("127.0.0.1", 0), _handler(told))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    told.url = f"https://127.0.0.1:{web.server_address[1]}"
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    async def client(**options: Any) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate), force_close=True)
        return aiohttp.ClientSession(connector=connector, **options)

    monkeypatch.setitem(fsspec.config.conf, "https", {"get_client": client})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield told
    HTTPFileSystem.clear_instance_cache()
    web.shutdown()
    thread.join()
    web.server_close()


def stored_zip(size: int) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("noise", np.random.default_rng(0).bytes(size))
    return data.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def opened(uri: str, workdir: Path, sha256: str) -> Path:
    return open_source(DatasetSource(uri=uri, sha256=sha256), workdir)


def test_an_https_archive_is_downloaded_checked_and_found_again(tmp_path: Path, server: Server) -> None:
    data = stored_zip(1000)
    server.files["/a.zip"] = data
    uri = f"{server.url}/a.zip?download=1"
    root = opened(uri, tmp_path / "work", digest(data))
    assert (root / "noise").stat().st_size == 1000
    asked = len(server.asked)
    server.files.clear()
    assert opened(uri, tmp_path / "work", digest(data)) == root
    assert len(server.asked) == asked


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path, server: Server) -> None:
    data = stored_zip(12 * MEGABYTE)
    server.files["/a.zip"], server.cuts = data, [-1, MEGABYTE, 0, -1]
    root = opened(f"{server.url}/a.zip", tmp_path / "work", digest(data))
    assert (root / "noise").stat().st_size == 12 * MEGABYTE
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in server.asked]
    assert starts[0] == 0
    assert min(starts[1:]) >= 8 * MEGABYTE, "what came before the cut is not asked for again"
    assert server.cuts == []


def test_a_server_without_ranges_is_read_from_the_beginning(tmp_path: Path, server: Server) -> None:
    data = stored_zip(11 * MEGABYTE)
    server.files["/a.zip"], server.ranges, server.cuts = data, False, [-1, -1, MEGABYTE]
    root = opened(f"{server.url}/a.zip", tmp_path / "work", digest(data))
    assert (root / "noise").stat().st_size == 11 * MEGABYTE
    assert server.cuts == []


def test_a_network_that_stays_down_is_worth_another_try(tmp_path: Path, server: Server) -> None:
    server.files["/a.zip"], server.cuts = stored_zip(1000), [7] * 50
    with pytest.raises(RetryLater, match=r"The transfer from https://127.0.0.1:\d+/a.zip fails"):
        opened(f"{server.url}/a.zip?token=secret", tmp_path / "work", "0" * 64)
    server.status["/a.zip"] = 503
    with pytest.raises(RetryLater, match="HTTP status 503"):
        opened(f"{server.url}/a.zip", tmp_path / "work", "0" * 64)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_by_the_server_is_final(tmp_path: Path, server: Server, status: int) -> None:
    server.status["/a.zip"] = status
    with pytest.raises(DatasetInvalid, match=f"Cannot read https://127.0.0.1.*/a.zip: HTTP status {status}"):
        opened(f"{server.url}/a.zip", tmp_path / "work", "0" * 64)


def test_a_certificate_of_nobody_is_refused(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(fsspec.config.conf, "https")
    with pytest.raises(DatasetInvalid, match="Certificate"):
        opened(f"{server.url}/a.zip", tmp_path / "work", "0" * 64)


def test_a_wrong_checksum_names_both_and_leaves_nothing(tmp_path: Path, server: Server) -> None:
    data = stored_zip(1000)
    server.files["/a.zip"] = data
    with pytest.raises(DatasetInvalid, match=f"is {digest(data)}, but the spec says {'0' * 64}"):
        opened(f"{server.url}/a.zip", tmp_path / "work", "0" * 64)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_base_in_an_https_archive_is_downloaded_once_and_loaded(tmp_path: Path, server: Server) -> None:
    make_pipeline(tmp_path / "pipeline")
    packed = shutil.make_archive(str(tmp_path / "base"), "gztar", tmp_path, "pipeline")
    data = Path(packed).read_bytes()
    server.files["/base.tar.gz"], server.cuts = data, [10_000]
    base = Base(uri=f"{server.url}/base.tar.gz", sha256=digest(data))
    with pytest.raises(UnsupportedHere, match="downloaded"):
        resolve_base(base, tmp_path / "cache", only_configs=True)
    folder = resolve_base(base, tmp_path / "cache")
    assert load(folder).digest == load(tmp_path / "pipeline").digest
    server.files.clear()
    assert resolve_base(base, tmp_path / "cache", only_configs=True) == folder
    with pytest.raises(BaseInvalid, match="HTTP status 404"):
        resolve_base(Base(uri=base.uri, sha256="0" * 64), tmp_path / "cache")
