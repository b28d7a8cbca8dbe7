"""An MLflow server, by its REST interface: tracking, artifacts, model registry."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Self
from urllib.parse import quote, urlsplit

import fsspec
import httpx2

from diptych_api.errors import UnsupportedHere
from diptych_api.sources import SecretKey
from diptych_diffusion.object_store import SCHEMES, file_system
from diptych_training.tracking.facts import RUN_TAG, Figure
from diptych_training.tracking.place import Begun, TrackingAwayError

API: Final = "/api/2.0/mlflow/"
ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts/"
PROXIED: Final = "mlflow-artifacts"
TIMEOUT: Final = httpx2.Timeout(30, connect=5)
MOST_FIGURES, MOST_PARAMS = 1000, 100
"""Of one request."""
LONGEST_ANSWER: Final = 300
"""Letters of an answer that are told."""
EXISTS: Final = "RESOURCE_ALREADY_EXISTS"


def credentials(token: SecretKey | None, environ: Mapping[str, str]) -> httpx2.Auth | None:
    """Return how requests are signed: by the job's token, else by MLflow's own variables.

    Raises:
        UnsupportedHere: when the job names a token that the environment does not have.

    """
    if token is not None and not environ.get(token.key):
        raise UnsupportedHere(
            f"spec.tracking.token: the environment variable {token.key} is not set.",
            hint=f"export {token.key}=… On Kubernetes, the Secret {token.name} fills it.",
        )
    if secret := environ.get(token.key if token else "MLFLOW_TRACKING_TOKEN"):
        return _Bearer(secret)
    name = environ.get("MLFLOW_TRACKING_USERNAME")
    return httpx2.BasicAuth(name, environ.get("MLFLOW_TRACKING_PASSWORD", "")) if name else None


class _Bearer(httpx2.Auth):
    def __init__(self, token: str) -> None:
        self.token = token

    def auth_flow(self, request: httpx2.Request) -> Any:  # noqa: ANN401 -- a generator of the library's
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


@dataclass(frozen=True, slots=True)
class Server:
    """An MLflow server of version 2.3 or newer, which knows aliases."""

    client: httpx2.Client

    @classmethod
    def at(cls, uri: str, auth: httpx2.Auth | None) -> Self:
        """Return the server at a URI; nothing is asked yet."""
        return cls(httpx2.Client(base_url=uri.rstrip("/"), auth=auth, timeout=TIMEOUT))

    def begin(self, experiment: str, name: str, tags: Mapping[str, str], began_ms: int) -> Begun:
        """Return the run with these tags' RUN_TAG, made where there is none, and say that it goes on."""
        where, wanted = self._experiment(experiment), tags[RUN_TAG].replace("'", "")
        asked = {"experiment_ids": [where], "filter": f"tags.`{RUN_TAG}` = '{wanted}'", "max_results": 1}
        found = self._post("runs/search", asked).get("runs", [])
        if found:
            info = found[0]["info"]
            self._post("runs/update", {"run_id": info["run_id"], "status": "RUNNING"})
        else:
            begun = {"experiment_id": where, "run_name": name, "start_time": began_ms, "tags": _pairs(tags)}
            info = self._post("runs/create", begun)["run"]["info"]
        return Begun(info["run_id"], info["artifact_uri"])

    def tell(self, run: str, params: Mapping[str, str], figures: Sequence[Figure], at_ms: int) -> None:
        """Add parameters and figures. The server keeps one of equal figures of the same time."""
        named = _pairs(params)
        told = [{"key": f.key, "value": f.value, "step": f.step, "timestamp": at_ms} for f in figures]
        for start in range(0, len(named), MOST_PARAMS):
            self._post("runs/log-batch", {"run_id": run, "params": named[start : start + MOST_PARAMS]})
        for start in range(0, len(told), MOST_FIGURES):
            self._post("runs/log-batch", {"run_id": run, "metrics": told[start : start + MOST_FIGURES]})

    def put(self, begun: Begun, path: str, data: BinaryIO, size: int) -> None:
        """Add a file to the run: by the server where it keeps artifacts, else where it says they are."""
        place = urlsplit(begun.artifacts)
        if place.scheme == PROXIED:
            target = ARTIFACTS + quote(f"{place.path.strip('/')}/{path}")
            self._send("PUT", target, content=data, headers={"Content-Length": str(size)})
            return
        fs, root = _file_system(begun.artifacts)
        try:
            fs.makedirs(f"{root}/{path}".rpartition("/")[0], exist_ok=True)
            with fs.open(f"{root}/{path}", "wb") as file:
                while chunk := data.read(1 << 20):
                    file.write(chunk)
        except OSError as error:
            raise TrackingAwayError(f"{begun.artifacts} cannot be written: {error}") from error

    def register(self, begun: Begun, model: str, alias: str, tags: Mapping[str, str]) -> str | None:
        """Make the run's artifact a version of a model, named by an alias; return it."""
        self._post("registered-models/create", {"name": model}, unless=EXISTS)
        known = self._get("model-versions/search", {"filter": f"run_id='{begun.run}'"}).get("model_versions", [])
        version: str | None = next((entry["version"] for entry in known if entry["name"] == model), None)
        if version is None:
            asked = {"name": model, "source": f"{begun.artifacts}/artifact", "run_id": begun.run, "tags": _pairs(tags)}
            version = self._post("model-versions/create", asked)["model_version"]["version"]
        self._post("registered-models/alias", {"name": model, "alias": alias, "version": version})
        return version

    def end(self, run: str, status: str, ended_ms: int) -> None:
        """Say how the run ended."""
        self._post("runs/update", {"run_id": run, "status": status, "end_time": ended_ms})

    def close(self) -> None:
        """Close connections."""
        self.client.close()

    def _experiment(self, name: str) -> str:
        made = self._post("experiments/create", {"name": name}, unless=EXISTS)
        if not made:
            found = self._get("experiments/get-by-name", {"experiment_name": name})["experiment"]
            if found.get("lifecycle_stage") == "deleted":
                raise TrackingAwayError(f"The experiment {name} was deleted there: restore it, or name another.")
            made = found
        return str(made["experiment_id"])

    def _post(self, path: str, body: Mapping[str, Any], *, unless: str = "") -> dict[str, Any]:
        return self._send("POST", API + path, unless=unless, json=body)

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        return self._send("GET", API + path, params=dict(query))

    def _send(self, method: str, path: str, *, unless: str = "", **more: Any) -> dict[str, Any]:  # noqa: ANN401 -- of httpx2
        """Return the answer; an empty one where the error ``unless`` was expected."""
        try:
            answer = self.client.request(method, path, **more)
            if answer.is_success:
                told: dict[str, Any] = answer.json() if answer.content else {}
                return told
        except (httpx2.HTTPError, ValueError) as error:
            raise TrackingAwayError(f"{self.client.base_url}: {str(error) or type(error).__name__}") from error
        if unless and unless in answer.text:
            return {}
        text = " ".join(answer.text.split())[:LONGEST_ANSWER]
        raise TrackingAwayError(f"{self.client.base_url} answers {answer.status_code} to {path}: {text}")


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _file_system(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    if urlsplit(uri).scheme in SCHEMES:
        return file_system(uri)
    if urlsplit(uri).scheme in ("", "file"):
        return fsspec.filesystem("file"), os.path.abspath(urlsplit(uri).path)  # noqa: PTH100 -- fsspec's paths are text
    raise TrackingAwayError(f"Its artifacts are at {uri}, which cannot be written from here.")
