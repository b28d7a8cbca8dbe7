"""A server that speaks Google Cloud Storage's XML API: generations, conditions, ranges, parts, listings."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from support.answering import QuietHandler, answering

Act = Callable[[str, str, dict[str, str], bytes], None]
"""What is done with bucket, key, query and body."""
MADE = "Sat, 31 Jan 2026 10:00:00 GMT"
SAME = "2026-01-31T10:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Object:
    """Bytes, and which write they are of."""

    data: bytes
    generation: int

    @property
    def headers(self) -> dict[str, str]:
        """Return what goes along with it."""
        etag = hashlib.md5(self.data, usedforsecurity=False).hexdigest()
        return {"ETag": f'"{etag}"', "x-goog-generation": str(self.generation), "Last-Modified": MADE}


@dataclass
class GoogleStore:
    """Buckets by name, and what goes wrong."""

    buckets: dict[str, dict[str, Object]] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Uploads that are not finished."""
    refusal: int | None = None
    """Status of every answer."""
    url: str = ""

    def keep(self, bucket: str, key: str, data: bytes) -> Object:
        """Write an object."""
        generation = 1 + max((one.generation for one in self.buckets[bucket].values()), default=0)
        self.buckets[bucket][key] = Object(data, generation)
        return self.buckets[bucket][key]


@contextmanager
def google_store(*buckets: str) -> Iterator[GoogleStore]:
    """Serve empty buckets for the time of the body; this process and its children find them."""
    store = GoogleStore({name: {} for name in buckets})
    with answering(type("Handler", (_Handler,), {"store": store})) as port, pytest.MonkeyPatch.context() as patch:
        store.url = f"http://127.0.0.1:{port}"
        patch.setenv("STORAGE_EMULATOR_HOST", store.url)
        yield store


class _Handler(QuietHandler, BaseHTTPRequestHandler):
    store: GoogleStore
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with an object, a range of one, or a listing."""
        self._at_a_bucket(self._get)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """Take an object or a part of one."""
        self._at_a_bucket(self._put)

    def do_POST(self) -> None:
        """Begin or end an upload in parts."""
        self._at_a_bucket(self._post)

    def do_DELETE(self) -> None:
        """Remove an object, or an upload that was not finished."""
        self._at_a_bucket(self._delete)

    def _at_a_bucket(self, act: Act) -> None:
        split = urlsplit(self.path)
        bucket, _, key = unquote(split.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(split.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.store.refusal:
            self._wrong(self.store.refusal, "AccessDenied")
        elif bucket not in self.store.buckets:
            self._wrong(404, "NoSuchBucket")
        else:
            act(bucket, key, query, body)

    def _get(self, bucket: str, key: str, query: dict[str, str], _body: bytes) -> None:
        if not key:
            self._say(200, self._listing(self.store.buckets[bucket], query))
        elif found := self.store.buckets[bucket].get(key):
            data, status, headers = found.data, 200, found.headers
            if wanted := self.headers["Range"]:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                end = min(int(last or len(data)), len(data) - 1)
                headers |= {"Content-Range": f"bytes {first}-{end}/{len(data)}"}
                data, status = data[int(first) : end + 1], 206
            self._say(status, data, headers)
        else:
            self._wrong(404, "NoSuchKey")

    def _put(self, bucket: str, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            self.store.parts[query["uploadId"]][int(query["partNumber"])] = body
            self._say(200, headers=Object(body, 0).headers)
            return
        wanted, there = self.headers["x-goog-if-generation-match"], self.store.buckets[bucket].get(key)
        if wanted is not None and int(wanted) != (there.generation if there else 0):
            self._wrong(412, "PreconditionFailed")
        else:
            self._say(200, headers=self.store.keep(bucket, key, body).headers)

    def _post(self, bucket: str, key: str, query: dict[str, str], _body: bytes) -> None:
        if "uploads" in query:
            name = os.urandom(8).hex()
            self.store.parts[name] = {}
            self._say(200, _xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>"))
            return
        parts = self.store.parts.pop(query["uploadId"])
        kept = self.store.keep(bucket, key, b"".join(parts[number] for number in sorted(parts)))
        etag = escape(kept.headers["ETag"])
        self._say(200, _xml("CompleteMultipartUploadResult", f"<ETag>{etag}</ETag>"), kept.headers)

    def _delete(self, bucket: str, key: str, query: dict[str, str], _body: bytes) -> None:
        self.store.parts.pop(query.get("uploadId", ""), None)
        if "uploadId" not in query and self.store.buckets[bucket].pop(key, None) is None:
            self._wrong(404, "NoSuchKey")
        else:
            self._say(204)

    @staticmethod
    def _listing(objects: dict[str, Object], query: dict[str, str]) -> bytes:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries, folders = [], set()
        for key, one in sorted(objects.items()):
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            facts = f"<Size>{len(one.data)}</Size><LastModified>{SAME}</LastModified>"
            entries.append(f"<Contents><Key>{escape(key)}</Key>{facts}<ETag>{one.headers['ETag']}</ETag></Contents>")
        common = [f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders)]
        return _xml("ListBucketResult", "".join([*entries, *common]))

    def _wrong(self, status: int, code: str) -> None:
        self._say(status, _xml("Error", f"<Code>{code}</Code><Message>{code}</Message>"))

    def _say(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        if self.command != "HEAD":
            self.say(status, body, headers)
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()


def _xml(name: str, inner: str) -> bytes:
    return f"<?xml version='1.0' encoding='UTF-8'?><{name}>{inner}</{name}>".encode()
