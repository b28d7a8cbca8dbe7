"""The Kubernetes API server, as a pod reaches it with the token of its own service account."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from diptych_api.errors import RetryLater, UserError

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
TIMEOUT: Final = httpx2.Timeout(10, connect=5)
LONGEST_ANSWER: Final = 300
NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class ApiServer:
    """An API server and the folder with `token`, `ca.crt` and `namespace`. The token is read anew for each request."""

    url: str
    account: Path = ACCOUNT

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Return the API server of the cluster that this pod belongs to. Raises UserError outside of a pod."""
        host = environ.get(HOST)
        if not host:
            raise UserError(f"{HOST} is not set: this is no pod.", hint="Leave DIPTYCH_REPORT out, or run in a pod.")
        shown = f"[{host}]" if ":" in host else host
        return cls(f"https://{shown}:{environ.get(PORT, '443')}")

    def namespace(self) -> str:
        """Return the namespace of the pod."""
        return self._read("namespace")

    def apply(self, path: str, manifest: Mapping[str, Any], manager: str) -> None:
        """Bring an object to a state by server-side apply.

        Raises:
            RetryLater: says what the server answered, or that it did not.

        """
        as_patch = {"Content-Type": "application/apply-patch+yaml"}  # which JSON is
        query = {"fieldManager": manager, "force": "true"}
        self._checked(path, self._ask("PATCH", path, params=query, json=dict(manifest), headers=as_patch))

    def get(self, path: str) -> bytes | None:
        """Return an object as JSON; None where there is none. Raises RetryLater as `apply` does."""
        answer = self._ask("GET", path)
        return None if answer.status_code == NOT_FOUND else self._checked(path, answer).content

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx2.Response:  # noqa: ANN401 -- of httpx2
        known = {"Authorization": f"Bearer {self._read('token')}", "Accept": "application/json"}
        try:
            # A client for each request: certificates rotate as tokens do, and a proxy of the environment is not meant.
            with httpx2.Client(verify=self._trust(), timeout=TIMEOUT, trust_env=False) as client:
                return client.request(method, f"{self.url}{path}", headers={**known, **(headers or {})}, **more)
        except httpx2.HTTPError as error:
            raise RetryLater(f"{self.url} cannot be reached: {str(error) or type(error).__name__}.") from error

    def _checked(self, path: str, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_error:
            raise RetryLater(f"{self.url}{path} answered {answer.status_code}: {_reason(answer)}.")
        return answer

    def _read(self, name: str) -> str:
        try:
            return (self.account / name).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise RetryLater(f"{self.account / name} cannot be read: {error.strerror or error}.") from error

    def _trust(self) -> ssl.SSLContext | bool:
        authority = self.account / "ca.crt"
        return ssl.create_default_context(cafile=os.fspath(authority)) if authority.exists() else True


def _reason(answer: httpx2.Response) -> str:
    """Return what a Status object says, or the beginning of any other answer."""
    try:
        told = answer.json()
    except ValueError:
        told = answer.text
    message = told.get("message", "") if isinstance(told, dict) else told
    return str(message)[:LONGEST_ANSWER].rstrip(".")
