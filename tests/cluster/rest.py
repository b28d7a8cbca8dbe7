"""A small client of the API server for tests: plain values in, plain values out."""

import json
import re
import ssl
from pathlib import Path
from typing import Self

import httpx2

from cluster.certificates import Pair
from cluster.objects import Values, reference

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
TIMEOUT_S = 60


class Refused(Exception):  # noqa: N818 - it is an answer, not a defect
    """The API server said no. Holds the HTTP code, the reason and the message of its Status."""

    def __init__(self, code: int, status: Values) -> None:
        self.code = code
        self.reason = str(status.get("reason", ""))
        self.message = str(status.get("message", ""))
        super().__init__(f"{code} {self.reason}: {self.message}")


class Rest:
    """Requests of one user. Objects are found by their own apiVersion, kind, namespace and name."""

    def __init__(self, url: str, authority: Path, user: Pair | str, agent: str = "diptych-tests") -> None:
        context = ssl.create_default_context(cafile=str(authority))
        headers = {"User-Agent": agent}
        if isinstance(user, Pair):
            context.load_cert_chain(user.certificate, user.key)
        else:
            headers["Authorization"] = f"Bearer {user}"
        self.client = httpx2.Client(base_url=url, verify=context, headers=headers, timeout=TIMEOUT_S, trust_env=False)
        self.plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def is_ready(self, path: str = "/readyz") -> bool:
        """Return whether the server answers and says that all is well."""
        try:
            return self.client.get(path, timeout=5).is_success
        except httpx2.TransportError:
            return False

    def request(self, method: str, path: str, body: object = None, kind: str = JSON, **query: object) -> Values:
        """Return the answer to a request. Raises Refused."""
        content = None if body is None else _text(body) if kind == APPLY else json.dumps(body)
        asked = {name: str(value) for name, value in query.items() if value is not None}
        answer = self.client.request(method, path, params=asked, content=content, headers={"Content-Type": kind})
        values: Values = answer.json() if JSON in answer.headers.get("content-type", "") else {"message": answer.text}
        if not answer.is_success:
            raise Refused(answer.status_code, values)
        return values

    def create(self, target: Values, *, dry_run: bool = False) -> Values:
        """Create an object."""
        path = self.path(target).rpartition("/")[0]
        return self.request("POST", path, target, dryRun="All" if dry_run else None)

    def apply(self, target: Values, *, manager: str = "diptych-tests", dry_run: bool = False) -> Values:
        """Apply an object on the server's side, taking fields over from others."""
        kept = "All" if dry_run else None
        return self.request("PATCH", self.path(target), target, APPLY, fieldManager=manager, force="true", dryRun=kept)

    def read(self, target: Values) -> Values:
        """Return the stored object."""
        return self.request("GET", self.path(target))

    def listed(self, api_version: str, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Values]:
        """Return all objects of a kind, of one namespace or of all, with the labels that a selector names."""
        path = self.path(reference(api_version, kind, "", namespace)).rstrip("/")
        items: list[Values] = self.request("GET", path, labelSelector=labels or None)["items"]
        return [{"apiVersion": api_version, "kind": kind} | item for item in items]

    def patch(self, target: Values, change: Values, *, subresource: str = "") -> Values:
        """Merge a change into the stored object, or into a part of it such as ``status``."""
        return self.request("PATCH", f"{self.path(target)}/{subresource}".rstrip("/"), change, MERGE)

    def delete(self, target: Values, **options: object) -> Values:
        """Ask for an object's deletion, with DeleteOptions such as ``preconditions``."""
        return self.request("DELETE", self.path(target), options or None)

    def is_there(self, target: Values) -> bool:
        """Return whether the object is stored."""
        try:
            self.read(target)
        except Refused as refused:
            if refused.reason != "NotFound":
                raise
            return False
        return True

    def path(self, target: Values) -> str:
        """Return the path of an object."""
        version, meta = target["apiVersion"], target["metadata"]
        plural, is_namespaced = self._plural(version, target["kind"])
        scope = f"/namespaces/{meta['namespace']}" if is_namespaced and meta.get("namespace") else ""
        return f"{_root(version)}{scope}/{plural}/{meta.get('name', '')}"

    def _plural(self, version: str, kind: str) -> tuple[str, bool]:
        if (version, kind) not in self.plurals:
            for found in self.request("GET", _root(version))["resources"]:
                if "/" not in found["name"]:
                    self.plurals[version, found["kind"]] = found["name"], found["namespaced"]
        return self.plurals[version, kind]


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _text(body: object) -> str:
    """Return a body as the server's YAML reader takes it: no pairs of escapes for emoji, no bare control characters."""
    text = json.dumps(body, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)
