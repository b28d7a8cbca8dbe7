"""Questions to a model behind an OpenAI-compatible endpoint: vLLM, Ollama, llama.cpp, or a service.

The other side is not trusted: answers are read up to a limit and a deadline, redirects, along which the key would go,
are not followed, and what is no answer is a reason.
"""

import http.client
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import urlsplit

from diptych_api.errors import RetryLater, SpecInvalid

KEY: Final = "OPENAI_API_KEY"
TRIES: Final = 5
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
TIMEOUT_S: Final = 120.0
MAX_ANSWER: Final = 2**20
BUSY: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
REFUSED: Final = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405})
"""Answers that every further question would get, too."""


class UnansweredError(Exception):
    """The endpoint has no answer to this one question; the text says why."""


class _BusyError(Exception):
    """The endpoint may answer later."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Chat:
    """Asks a model one question at a time; threads may share it."""

    url: str
    model: str
    field: str
    """Where it stands in a spec."""
    hint: str = "Look at the endpoint, then run again."

    @classmethod
    def at(cls, endpoint: str, model: str, field: str, hint: str = hint) -> Self:
        """Return the chat with a model. Raises SpecInvalid for what is no address."""
        if not is_address(endpoint):
            raise SpecInvalid(f"{field}.endpoint: {endpoint} is no http:// or https:// address.")
        return cls(f"{endpoint.rstrip('/')}/chat/completions", model, field, hint)

    def ask(self, content: str | Sequence[dict[str, Any]], max_tokens: int) -> str:
        """Return what the model says to a text, or to texts and pictures as the protocol has them.

        Raises:
            UnansweredError: when it has nothing to say to this question.
            RetryLater: when the endpoint does not answer after several tries.
            SpecInvalid: when it refuses every request: a wrong address, model or key.

        """
        asked = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        body = json.dumps(asked | {"max_tokens": max_tokens, "temperature": 0, "seed": 0}).encode()
        for attempt in range(TRIES):
            try:
                return self._answer(body)
            except _BusyError as error:
                if attempt + 1 == TRIES:
                    raise RetryLater(
                        f"{self.url} did not answer after {TRIES} tries: {error}.", hint=self.hint
                    ) from error
                time.sleep(min(LONGEST_PAUSE_S, PAUSE_S * 2**attempt if error.after_s is None else error.after_s))
        raise AssertionError

    def _answer(self, body: bytes) -> str:
        status, headers, data = self._post(body)
        if status == HTTPStatus.OK:
            return _text_in(data)
        why = f"{status} {_error_in(data)}".strip()
        if status in BUSY:
            raise _BusyError(why, _seconds(headers.get("Retry-After")))
        if status in REFUSED:
            raise SpecInvalid(f"{self.field}: {self.url} answered {why}.", hint=f"Check endpoint, model and {KEY}.")
        raise UnansweredError(f"the endpoint answered {why}")

    def _post(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.request("POST", parts.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, _bounded(answer)
        except (OSError, http.client.HTTPException) as error:
            raise _BusyError(str(error) or type(error).__name__) from error
        except ValueError as error:  # a key or a path that no request can hold
            raise SpecInvalid(f"{self.field}: {self.url} cannot be asked: {type(error).__name__}.") from error
        finally:
            connection.close()


def is_address(endpoint: str) -> bool:
    """Whether an endpoint can be asked: http:// or https://, a host and, where there is a port, a number."""
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _bounded(answer: http.client.HTTPResponse) -> bytes:
    """Return the start of an answer: no more than the limit, and no longer than the deadline."""
    deadline, data = time.monotonic() + TIMEOUT_S, b""
    while len(data) < MAX_ANSWER and time.monotonic() < deadline:
        block = answer.read1(MAX_ANSWER - len(data))
        if not block:
            break
        data += block
    return data


def _text_in(data: bytes) -> str:
    try:
        content = json.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise UnansweredError("the endpoint's answer has no choices[0].message.content") from error
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = " ".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        raise UnansweredError("the endpoint's answer is no text")
    return content


def _error_in(data: bytes) -> str:
    try:
        told = json.loads(data)["error"]
        message = told["message"] if isinstance(told, dict) else told
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return ascii(message)[1:200] if isinstance(message, str) else ""


def _seconds(told: str | None) -> float | None:
    return float(told) if told is not None and told.isdecimal() else None
