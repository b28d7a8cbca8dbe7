"""The real API server, through the official client. Nothing else of the operator speaks to it, but kopf's watches."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from pydantic_core import from_json

from diptych_api.errors import UserError
from diptych_api.names import FIELD_MANAGER
from diptych_operator.cluster import Conflict, Refused, Unreachable
from diptych_operator.kinds import Kind, Manifest, Ref, kind_of, ref_of
from diptych_operator.plan import Delete
from diptych_operator.version import Version

APPLY: Final = "application/apply-patch+yaml; charset=utf-8"
BEYOND_ASCII: Final = re.compile("[\x7f-\uffff]")
MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json"
NAMES: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE: Final = 200
"""Objects of one answer to a list: what a page takes for a moment stays with the process."""
OK, CREATED, UNAUTHORIZED, NOT_FOUND, CONFLICT, GONE, TOO_MANY, BROKEN = 200, 201, 401, 404, 409, 410, 429, 500
USER_AGENT: Final = "diptych-operator"
FROM_US: Final = {"trust_env": False}
"""aiohttp would look for proxies and passwords in the environment anew for each request, in a thread each time."""
ReadT = TypeVar("ReadT")


class OnRequest(Protocol):
    """Hears of every request."""

    def __call__(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Take verb, plural name, HTTP status (0 without an answer) and duration."""


async def connect(kubeconfig: Path | None = None) -> Configuration:
    """Return how to reach the API server: by a kubeconfig, else by the pod's account, else by the user's kubeconfig.

    Raises:
        UserError: when there is neither.

    """
    configuration = Configuration()
    try:
        if kubeconfig is not None:
            await load_kube_config(str(kubeconfig), client_configuration=configuration)
            return configuration
        try:
            load_incluster_config(configuration)
        except ConfigException:
            await load_kube_config(client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise UserError(
            f"There is no way to an API server: {error}",
            hint="Run in a pod with a ServiceAccount, or set KUBECONFIG to a file that kubectl can use.",
        ) from error
    return configuration


class Kube:
    """A Cluster on a real API server. Close it at the end."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        namespaces: tuple[str, ...] = (),
        timeout_s: float = 10,
        on_request: OnRequest | None = None,
    ) -> None:
        configuration.connection_pool_maxsize = 32
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        configuration.client_session_kwargs = FROM_US
        self.configuration = configuration
        self._client = ApiClient(configuration)
        self._client.user_agent = USER_AGENT
        self._namespaces = namespaces
        self._timeout_s = timeout_s
        self._on_request = on_request

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, ref: Ref) -> Manifest | None:
        """Return an object; None when it is not there."""
        code, body = await self._call("get", ref.kind, ref.kind.path(ref.namespace, ref.name))
        return None if code == NOT_FOUND else _checked(code, body, f"read {ref}")

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Manifest]:
        """Return all objects of a kind, page by page."""
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        selectors, found = {"labelSelector": labels, "fieldSelector": fields}, list[Manifest]()
        for place in [namespace] if namespace else self._namespaces or [None]:
            found += await self._list_in(kind, place, selectors, lambda item: {**head, **item})
        return found

    async def versions(self, kind: Kind, *, labels: str = "", fields: str = "") -> dict[Ref, Version]:
        """Return uid and version of all objects of a kind: a list without their contents."""
        selectors, found = {"labelSelector": labels, "fieldSelector": fields}, dict[Ref, Version]()
        for place in self._namespaces or [None]:
            found.update(await self._list_in(kind, place, selectors, partial(_version, kind), NAMES))
        return found

    async def _list_in(
        self,
        kind: Kind,
        namespace: str | None,
        selectors: dict[str, str],
        read: Callable[[Manifest], ReadT],
        accept: str = JSON,
    ) -> Sequence[ReadT]:
        """Return what `read` takes of each object. The rest of a page is dropped before the next one comes."""
        found: list[ReadT] = []
        query: dict[str, Any] = {"limit": PAGE, **{name: text for name, text in selectors.items() if text}}
        while True:
            code, body = await self._call("list", kind, kind.path(namespace), query=query, accept=accept)
            if code == GONE and "continue" in query:  # the list changed too much since its first page
                del query["continue"]
                found.clear()
                continue
            page = _checked(code, body, f"list {kind.plural}")
            found += map(read, page.get("items") or ())
            if not (rest := page.get("metadata", {}).get("continue")):
                return found
            query["continue"] = rest

    async def schemas(self, group: str, version: str) -> dict[str, Any] | None:
        """Return the OpenAPI schemas of an API group by name, its fields alone; None when the group is not there."""
        place = Kind("openapi", "v3", f"apis/{group}/{version}", "")
        code, body = await self._call("get", place, f"/openapi/v3/apis/{group}/{version}")
        if code == NOT_FOUND:
            return None
        answer = _checked(code, body, f"tell its schema of {group}", keep=_parts)
        return dict(answer["components"]["schemas"])

    async def discovered(self, group: str, version: str) -> frozenset[str]:
        """Return the plural names of a group's resources, as clients find them; none when the group is not there."""
        path = Kind(group, version, "", "").path(None).rstrip("/")
        code, body = await self._call("get", Kind("", "", "discovery", ""), path)
        if code == NOT_FOUND:
            return frozenset()
        answer = _checked(code, body, f"tell the resources of {group}")
        return frozenset(resource["name"] for resource in answer["resources"])

    async def apply(self, manifest: Manifest) -> Manifest:
        """Bring an object to a state by server-side apply; fields that others hold become ours."""
        ref = ref_of(manifest)
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        path = ref.kind.path(ref.namespace, ref.name)
        code, body = await self._call("apply", ref.kind, path, query=query, body=_yaml(manifest), form=APPLY)
        return _checked(code, body, f"apply {ref}")

    async def delete(self, delete: Delete) -> None:
        """Delete one object by uid, and what it owns in the background."""
        ref, options = delete.ref, {"propagationPolicy": "Background", "preconditions": {"uid": delete.uid}}
        code, body = await self._call("delete", ref.kind, ref.kind.path(ref.namespace, ref.name), body=options)
        if code not in (NOT_FOUND, CONFLICT):
            _checked(code, body, f"delete {ref}")

    async def write_status(self, ref: Ref, version: str, changes: dict[str, Any]) -> Manifest:
        """Merge changes into a status, unless the object changed since `version`."""
        body = {"metadata": {"resourceVersion": version}, "status": changes}
        path, query = ref.kind.path(ref.namespace, ref.name, "status"), {"fieldManager": FIELD_MANAGER}
        code, answer = await self._call("patch", ref.kind, path, query=query, body=body, form=MERGE)
        if code == NOT_FOUND:
            raise Conflict(f"{ref} is gone.")
        return _checked(code, answer, f"write the status of {ref}")

    async def tell(self, event: Manifest) -> None:
        """Make an Event; one of this name may be there."""
        path = kind_of(event).path(event["metadata"]["namespace"])
        code, body = await self._call("create", kind_of(event), path, body=event)
        if code != CONFLICT:
            _checked(code, body, "create an Event")

    async def create(self, manifest: Manifest) -> Manifest:
        """Make an object. Raises Conflict when there is one of this name."""
        ref = ref_of(manifest)
        code, body = await self._call("create", ref.kind, ref.kind.path(ref.namespace), body=manifest)
        return _checked(code, body, f"create {ref}")

    async def replace(self, manifest: Manifest) -> Manifest:
        """Write a whole object. Raises Conflict when it changed since the resourceVersion that it names."""
        ref = ref_of(manifest)
        path = ref.kind.path(ref.namespace, ref.name)
        code, body = await self._call("update", ref.kind, path, body=manifest)
        return _checked(code, body, f"update {ref}")

    async def _call(  # noqa: PLR0913 - the parts of a request
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Manifest | bytes | None = None,
        form: str = JSON,
        accept: str = JSON,
    ) -> tuple[int, bytes]:
        """Return HTTP status and body. Raises Unreachable."""
        configuration = self._client.configuration
        url = configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": form, "User-Agent": USER_AGENT}
        began, code = time.monotonic(), 0
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, METHODS[verb], body)
            answer = await self._client.call_api(METHODS[verb], url, headers, body, _request_timeout=self._timeout_s)
            text, code = await answer.read(), answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            told = str(error) or type(error).__name__
            raise Unreachable(f"No answer to {verb} {path}: {told}") from error
        finally:
            if self._on_request is not None:
                self._on_request(verb, kind.plural, code, time.monotonic() - began)
        return code, text


METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "apply": "PATCH",
    "delete": "DELETE",
}
PASSING: Final = frozenset({UNAUTHORIZED, 408, TOO_MANY})


def _proxy(url: str) -> str | None:
    """Return the environment's proxy on the way to a URL; None where there is none."""
    place = urlsplit(url)
    return None if proxy_bypass(place.hostname or "") else getproxies().get(place.scheme)


def _yaml(manifest: Manifest) -> bytes:
    """Return a manifest as the API server's YAML reader takes it.

    It refuses the pairs of escapes by which JSON writes emoji, and control characters that stand as they are.
    """
    text = json.dumps(manifest, ensure_ascii=False)
    return BEYOND_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _version(kind: Kind, item: Manifest) -> tuple[Ref, Version]:
    metadata = item["metadata"]
    ref = Ref(kind, metadata.get("namespace", ""), metadata["name"])
    return ref, Version(metadata["uid"], int(metadata["resourceVersion"]))


def _parts(found: Manifest) -> Manifest:
    """Return a part of a schema without its words: those of KubeRay's group take tens of megabytes."""
    return {name: part for name, part in found.items() if isinstance(part, dict)}


def _checked(code: int, body: bytes, what: str, keep: Callable[[Manifest], Manifest] | None = None) -> Manifest:
    """Return the object of a good answer, of which each part passed through `keep`.

    Raises Conflict, Unreachable or Refused for the others.
    """
    try:
        answer = json.loads(body, object_hook=keep) if keep and code == OK else from_json(body)
    except ValueError:
        answer = {"message": body[:200].decode(errors="replace")}
    if code in (OK, CREATED, 202):
        return dict(answer)
    said = f"The API server did not {what} ({code}): {str(answer.get('message', ''))[:1500]}"
    if code == CONFLICT:
        raise Conflict(said)
    if code in PASSING or code >= BROKEN:
        raise Unreachable(said)
    raise Refused(said)


def pauses() -> Iterator[float]:
    """Yield seconds between looks: what was installed a moment ago is there in a moment, all else takes a person."""
    return chain((0.25, 0.5, 1, 2), repeat(5))


async def wait_for_answer(kube: Kube, kind: Kind, tell: Callable[[str], None]) -> None:
    """Wait until the API server answers a list; `tell` hears what it said instead.

    A refusal is waited out: an API server that starts refuses everybody until it has read its roles.
    """
    for pause_s in pauses():
        try:
            await kube.list(kind, fields="metadata.name=nobody")
        except (Unreachable, Refused) as error:
            tell(error.message)
            await asyncio.sleep(pause_s)
        else:
            return
