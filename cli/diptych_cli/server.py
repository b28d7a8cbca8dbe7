"""A server that `diptych serve` or a cluster runs, as the commands ask it."""

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from diptych_api.errors import DiptychError, RetryLater, RunFailed, UserError

KEY_VARIABLE: Final = "DIPTYCH_API_KEY"
TIMEOUT_S: Final = 660.0
"""A little more than the longest time that a server gives a request."""
LATER: Final = frozenset({408, 429, 502, 503, 504})


OnStep = Callable[[int, int], None]
"""Hears of steps done and steps in all."""


@dataclass(frozen=True, slots=True)
class Server:
    """The HTTP API at a URL."""

    url: str

    def draw(
        self, path: str, body: Mapping[str, Any], on_step: OnStep, *, needs: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return what the server drew, a reply with the fields in ``needs``. Raises DiptychError."""
        url, wait = f"{self.url.rstrip('/')}{path}", httpx2.Timeout(TIMEOUT_S, connect=10)
        try:
            with (
                httpx2.Client(timeout=wait, headers=_authorization()) as client,
                client.sse(url, method="POST", json={**body, "stream": True}, max_event_size=None) as source,
            ):
                answer = source.response
                if answer.status_code != httpx2.codes.OK:
                    answer.read()
                    raise _refusal(answer.status_code, _json(answer.text), self.url)
                values = self._last(source, on_step)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise UserError(f"--server {self.url}: {error}.", hint="Write http://HOST:PORT.") from error
        except httpx2.ConnectError as error:
            raise RetryLater(
                f"Nothing answers at {self.url}.", hint="Start a server: diptych serve DEPLOYMENT.yaml"
            ) from error
        except httpx2.SSEError as error:
            raise RunFailed(f"{self.url} answered something else.", hint="Is it a Diptych server?") from error
        except httpx2.TransportError as error:
            raise RetryLater(f"The connection to {self.url} broke: {str(error) or type(error).__name__}.") from error
        if not values.keys() >= {*needs}:
            raise RunFailed(f"{self.url} answered something else.", hint="Is it a Diptych server?")
        return values

    def _last(self, source: httpx2.EventSource, on_step: OnStep) -> dict[str, Any]:
        """Return what the stream ends with. Raises DiptychError."""
        steps: dict[int, tuple[int, int]] = {}
        for event in source:
            values = _json(event.data)
            match event.event:
                case "progress":
                    steps[values["picture"]] = (values["step"], values["total"])
                    on_step(sum(step for step, _ in steps.values()), sum(total for _, total in steps.values()))
                case "done":
                    return values
                case "error":
                    raise _refusal(values.get("status", 500), values, self.url)
        raise RetryLater(f"{self.url} ended the answer early.")


def _json(text: str) -> dict[str, Any]:
    """Return an object, an empty one for anything else."""
    try:
        values: Any = json.loads(text)
    except ValueError:
        return {}
    return dict(values) if isinstance(values, dict) else {}


def _refusal(status: int, problem: Mapping[str, Any], url: str) -> DiptychError:
    message, hint = str(problem.get("detail", "")), str(problem.get("hint", ""))
    if not message:
        return RunFailed(f"{url} answered {status}.", hint="Is it a Diptych server?")
    if status in LATER:
        return RetryLater(message, hint=hint)
    kind = UserError if status < 500 else RunFailed  # noqa: PLR2004 - server errors begin there
    return kind(message, hint=hint)


def _authorization() -> dict[str, str]:
    """Return the header with the API key of the environment, where there is one."""
    key = os.environ.get(KEY_VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}
