"""A Kubernetes cluster as the kubeconfig reaches it: objects, tables, changes, logs of pods."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from diptych_api.errors import UserError
from diptych_cli.cluster_errors import Absent, refusal, unreachable
from diptych_cli.where import Where
from diptych_operator.kinds import Kind, Manifest

try:
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError
except ImportError as error:
    raise UserError(
        f"Reaching a cluster needs the Python package {error.name}.", hint="uv pip install 'diptych[operator]'"
    ) from error

JSON: Final = "application/json"
TABLE: Final = f"{JSON};as=Table;v=v1;g=meta.k8s.io,{JSON}"
MERGE_PATCH: Final = "application/merge-patch+json"
MANAGER: Final = "diptych-cli"
CONNECT_S, READ_S = 10, 60
ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
ERRORS_BEGIN: Final = 300


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection and the namespace that is meant. Every method raises UserError, RetryLater or RunFailed."""

    api: client.ApiClient
    namespace: str

    def get(self, kind: Kind, name: str) -> Manifest:
        """Return an object. Raises Absent."""
        return self.ask("GET", kind.path(self.namespace, name), f"{kind.kind} {name} in namespace {self.namespace}")

    def find(self, kind: Kind, name: str) -> Manifest | None:
        """Return an object, None where there is none."""
        try:
            return self.get(kind, name)
        except Absent:
            return None

    def list(
        self,
        kind: Kind,
        query: Mapping[str, str] | None = None,
        *,
        everywhere: bool = False,
        table: bool = False,
    ) -> Manifest:
        """Return all objects of a kind, or those that a query selects, as a list or as the table that kubectl shows."""
        path = kind.path(None if everywhere else self.namespace)
        return self.ask("GET", path, f"{kind.plural}.{kind.group}", query=query, accept=TABLE if table else JSON)

    def table(self, kind: Kind, name: str) -> Manifest:
        """Return the table of one object. Raises Absent."""
        what = f"{kind.kind} {name} in namespace {self.namespace}"
        return self.ask("GET", kind.path(self.namespace, name), what, accept=TABLE)

    def patch(self, kind: Kind, name: str, changes: Mapping[str, Any]) -> Manifest:
        """Merge changes into an object; return it as stored. Raises Absent."""
        what = f"{kind.kind} {name} in namespace {self.namespace}"
        path, query = kind.path(self.namespace, name), {"fieldManager": MANAGER}
        return self.ask("PATCH", path, what, query=query, body=changes)

    def watch(self, kind: Kind, version: str, seconds: int, query: Mapping[str, str]) -> Iterator[Manifest]:
        """Yield the events of a kind from a version on, for some seconds or until the connection ends."""
        told = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(seconds), **query}
        what = f"{kind.plural}.{kind.group}"
        for line in self.lines(kind.path(self.namespace), what, told, read_s=seconds + CONNECT_S):
            yield json.loads(line)

    def lines(self, path: str, what: str, query: Mapping[str, str], read_s: float | None) -> Iterator[bytes]:
        """Yield the lines of an answer as they come; one that is cut ends."""
        response = self._send("GET", path, query, {"Accept": "*/*"}, None, (CONNECT_S, read_s)).response
        with closing(response):
            if response.status >= ERRORS_BEGIN:
                raise refusal(response.status, response.data, what)
            try:
                yield from response
            except HTTPError:
                return

    def ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str = JSON,
    ) -> Manifest:
        """Return the answer to a request; ``what`` names in messages what is asked for."""
        headers = {"Accept": accept} | ({"Content-Type": MERGE_PATCH} if body is not None else {})
        response = self._send(method, path, query or {}, headers, body, (CONNECT_S, READ_S))
        try:
            data = response.read()
        except HTTPError as error:
            raise unreachable(self.api.configuration.host, error) from error
        if response.status >= ERRORS_BEGIN:
            raise refusal(response.status, data, what)
        answer: Manifest = json.loads(data)
        return answer

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None,
        timeout: tuple[float, float | None],
    ) -> Any:  # noqa: ANN401 - the client's responses have no useful type
        verb, url, told, content, _ = self.api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=dict(headers),
            body=None if body is None else dict(body),
            auth_settings=["BearerToken"],
        )
        try:
            return self.api.call_api(verb, url, told, content, _request_timeout=timeout)
        except (HTTPError, client.ApiException) as error:
            reason = getattr(error, "reason", None) or error
            raise unreachable(self.api.configuration.host, reason) from error


def connect(where: Where) -> Cluster:
    """Return the cluster that the kubeconfig names, or the one that this pod belongs to. Raises UserError."""
    settings = client.Configuration()
    settings.retries = False
    file = _kubeconfig(where)
    try:
        if file is None and where.context is None and ACCOUNT_NAMESPACE.exists():
            config.load_incluster_config(client_configuration=settings)
            namespace = ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()
        else:
            config.load_kube_config(file, where.context, settings)
            namespace = _namespace_of(file, where.context)
    except (config.ConfigException, OSError) as error:
        raise UserError(
            f"No cluster is known: {str(error).rstrip('.')}.", hint="Set KUBECONFIG, or give --kubeconfig FILE."
        ) from error
    return Cluster(client.ApiClient(settings), where.namespace or namespace)


def _kubeconfig(where: Where) -> str | None:
    """Return the file or files to read; None leaves it to the client, which knows ~/.kube/config."""
    if where.kubeconfig is not None:
        return str(where.kubeconfig)
    return os.environ.get("KUBECONFIG") or None


def _namespace_of(file: str | None, context: str | None) -> str:
    contexts, current = config.list_kube_config_contexts(file)
    chosen = next((each for each in contexts if each["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")
