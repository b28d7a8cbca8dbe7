"""Publishing to an OCI registry: one layer a file, named as `oras pull` expects it (image-spec 1.1)."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

import httpx2

from diptych_api.errors import HubAuth, RetryLater, SpecInvalid
from diptych_training.publishing.parcel import Item, Parcel
from diptych_training.publishing.plan import Plan

REFERENCE: Final = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(:\d+)?)/(?P<name>[a-z0-9]+([._/-]+[a-z0-9]+)*)(:(?P<tag>\w[\w.-]{0,127}))?"
)
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
LAYER: Final = "application/octet-stream"
KIND: Final = "application/vnd.diptych.artifact.v1"
TITLE: Final = "org.opencontainers.image.title"
LOCAL: Final = frozenset({"localhost", "127.0.0.1"})
CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
UNAUTHORIZED, NOT_FOUND = 401, 404
REFUSED: Final = frozenset({401, 403})
TIMEOUT: Final = httpx2.Timeout(60, connect=5)
CONFIG: Final = Item("", b"{}")


@dataclass(slots=True)
class Registry:
    """A tag of a repository in a registry; on this machine it is spoken to without TLS."""

    place: str
    name: str
    tag: str
    user: str
    token: str | None
    client: httpx2.Client

    @classmethod
    def at(cls, uri: str, token: str | None, environ: Mapping[str, str]) -> Self:
        """Return the place that a reference names; nothing is asked yet. Raises SpecInvalid."""
        found = REFERENCE.fullmatch(uri)
        if found is None:
            raise SpecInvalid(f"spec.publish.uri: {uri!r} is no reference.", hint="Write oci://registry/name:tag.")
        host = found["host"]
        url = f"{'http' if host.partition(':')[0] in LOCAL else 'https'}://{host}"
        user = environ.get("DIPTYCH_PUBLISH_USER", "diptych")
        client = httpx2.Client(base_url=url, timeout=TIMEOUT)
        return cls(uri, found["name"], found["tag"] or "latest", user, token, client)

    def plan(self, parcel: Parcel) -> Plan:
        """Return the files that the registry lacks. Raises HubAuth and RetryLater."""
        manifest = _manifest(parcel)
        answer = self._ask("HEAD", f"manifests/{self.tag}", headers={"Accept": MANIFEST})
        if answer.is_success and answer.headers.get("Docker-Content-Digest") == _digest(manifest):
            return Plan(self.place, (), ())
        missing = tuple(item for item in parcel.items if not self._has(item))
        return Plan(self.place, missing, (), is_new=True)

    def send(self, plan: Plan, parcel: Parcel) -> str:
        """Send the files, then the manifest that names them; return the reference by digest."""
        for item in (*plan.send, CONFIG):
            if item is not CONFIG or not self._has(item):
                self._send(item)
        manifest = _manifest(parcel)
        answer = self._ask("PUT", f"manifests/{self.tag}", content=manifest, headers={"Content-Type": MANIFEST})
        self._check(answer)
        return f"{self.place}@{_digest(manifest)}"

    def _has(self, item: Item) -> bool:
        answer = self._ask("HEAD", f"blobs/sha256:{item.sha256}")
        if answer.status_code != NOT_FOUND:
            self._check(answer)
        return answer.is_success

    def _send(self, item: Item) -> None:
        begun = self._check(self._ask("POST", "blobs/uploads/"))
        target = urljoin(str(begun.request.url), begun.headers["Location"])
        target += f"{'&' if urlsplit(target).query else '?'}digest=sha256:{item.sha256}"
        headers = {"Content-Type": LAYER, "Content-Length": str(item.size)}
        if isinstance(item.content, Path):
            with item.content.open("rb") as file:
                self._check(self._request("PUT", target, content=file, headers=headers))
        else:
            self._check(self._request("PUT", target, content=item.content, headers=headers))

    def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response:  # noqa: ANN401 -- of httpx2
        """Return the answer; where the registry asks who it is, the question is put again with an answer to that."""
        answer = self._request(method, f"/v2/{self.name}/{path}", **more)
        if answer.status_code == UNAUTHORIZED and (proof := self._proof(answer.headers.get("WWW-Authenticate", ""))):
            self.client.headers["Authorization"] = proof
            answer = self._request(method, f"/v2/{self.name}/{path}", **more)
        return answer

    def _proof(self, challenge: str) -> str | None:
        """Return what a challenge asks for: the token itself, or one that the registry's own service gives for it."""
        basic = httpx2.BasicAuth(self.user, self.token) if self.token else None
        kind, asked = challenge.partition(" ")[0].lower(), dict(CHALLENGE.findall(challenge))
        if kind == "basic" and basic is not None:
            request = httpx2.Request("GET", self.client.base_url)
            return str(next(basic.auth_flow(request)).headers["Authorization"])
        if kind != "bearer" or "realm" not in asked:
            return None
        query = {key: value for key, value in asked.items() if key in ("service", "scope")}
        self.client.headers.pop("Authorization", None)
        given = self._check(self._request("GET", asked["realm"], params=query, auth=basic)).json()
        return f"Bearer {given.get('token') or given.get('access_token')}"

    def _request(self, method: str, url: str, **more: Any) -> httpx2.Response:  # noqa: ANN401 -- of httpx2
        try:
            return self.client.request(method, url, **more)
        except httpx2.HTTPError as cause:
            raise RetryLater(
                f"{self.place} could not be reached: {cause}", hint="Publish again: what is there is kept."
            ) from cause

    def _check(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_success:
            return answer
        if answer.status_code in REFUSED:
            raise HubAuth(
                f"The registry refused to publish to {self.place} ({answer.status_code}).",
                hint="spec.publish.token needs the right to push; DIPTYCH_PUBLISH_USER names its user.",
            )
        told = " ".join(answer.text.split())[:300]
        raise RetryLater(f"The registry answered {answer.status_code} for {self.place}: {told}")


def _manifest(parcel: Parcel) -> bytes:
    layers = [_described(item, LAYER) | {"annotations": {TITLE: item.name}} for item in parcel.items]
    config = _described(CONFIG, EMPTY)
    return json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": KIND, "config": config, "layers": layers}
    ).encode()


def _described(item: Item, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{item.sha256}", "size": item.size}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
