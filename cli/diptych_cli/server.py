"""A server that `diptych serve` or a cluster runs, as the commands ask it."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from diptych_api.errors import DiptychError, RetryLater, RunFailed, UserError

KEY_VARIABLE: Final = "DIPTYCH_API_KEY"
TIMEOUT_S: Final = 660.0
"""A little more than the longest time that a server gives a request."""
LATER: Final = frozenset({408, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Server:
    """The HTTP API at a URL."""

    url: str

    def post(self, path: str, body: Mapping[str, Any], *, needs: Collection[str] = ()) -> dict[str, Any]:
        """Return what the server answered, which has the fields in ``needs``. Raises DiptychError."""
        url, wait = f"{self.url.rstrip('/')}{path}", httpx2.Timeout(TIMEOUT_S, connect=10)
        try:
            answer = httpx2.post(url, json=dict(body), headers=_authorization(), timeout=wait)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise UserError(f"--server {self.url}: {error}.", hint="Write http://HOST:PORT.") from error
        except httpx2.ConnectError as error:
            raise RetryLater(
                f"Nothing answers at {self.url}.", hint="Start a server: diptych serve DEPLOYMENT.yaml"
            ) from error
        except httpx2.TransportError as error:
            raise RetryLater(f"The connection to {self.url} broke: {str(error) or type(error).__name__}.") from error
        if answer.status_code != httpx2.codes.OK:
            raise _refusal(answer, self.url)
        try:
            values: Any = answer.json()
        except ValueError as error:
            raise RunFailed(f"{self.url} did not answer in JSON.", hint="Is it a Diptych server?") from error
        if not isinstance(values, dict) or not values.keys() >= {*needs}:
            raise RunFailed(f"{self.url} answered something else.", hint="Is it a Diptych server?")
        return dict(values)


def _refusal(answer: httpx2.Response, url: str) -> DiptychError:
    try:
        problem = answer.json()
        message, hint = str(problem["detail"]), str(problem.get("hint", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return RunFailed(f"{url} answered {answer.status_code}.", hint="Is it a Diptych server?")
    if answer.status_code in LATER:
        return RetryLater(message, hint=hint)
    kind = UserError if answer.status_code < 500 else RunFailed  # noqa: PLR2004 - server errors begin there
    return kind(message, hint=hint)


def _authorization() -> dict[str, str]:
    """Return the header with the API key of the environment, where there is one."""
    key = os.environ.get(KEY_VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}
