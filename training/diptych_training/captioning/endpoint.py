"""Captions by a vision model behind an OpenAI-compatible endpoint: vLLM, Ollama, llama.cpp, or a service.

The other side is not trusted: answers are read up to a limit and a deadline, redirects, along which the key would go,
are not followed, and what is no caption is a reason.
"""

import base64
import hashlib
import http.client
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import urlsplit

from diptych_api.dataset import Captioning
from diptych_api.errors import RetryLater, SpecInvalid, UnsupportedHere
from diptych_training.captioning.provider import INSTRUCTION, Captions, Shown, Silence

FIELD: Final = "spec.dataset.captioning"
KEY: Final = "OPENAI_API_KEY"
TRIES: Final = 5
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
TIMEOUT_S: Final = 120.0
MAX_ANSWER: Final = 2**20
BUSY: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
REFUSED: Final = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405})
"""Answers that every further picture would get, too."""


class _BusyError(Exception):
    """The endpoint may answer later."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Asks an endpoint for captions, several at once."""

    url: str
    model: str
    prompt: str
    max_tokens: int
    at_once: int
    pause_s: float = PAUSE_S

    @classmethod
    def of(cls, settings: Captioning) -> Self:
        """Return the endpoint that the settings name. Raises SpecInvalid, UnsupportedHere."""
        if settings.endpoint is None or settings.model is None:
            lacking = "endpoint" if settings.endpoint is None else "model"
            raise SpecInvalid(f"{FIELD}.{lacking}: provider OpenAI needs it.")
        parts = urlsplit(settings.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SpecInvalid(f"{FIELD}.endpoint: {settings.endpoint} is no http:// or https:// address.")
        if settings.api_key is not None and not os.environ.get(KEY):
            raise UnsupportedHere(
                f"{FIELD}.apiKey: the environment variable {KEY} is not set.",
                hint=f"export {KEY}=… On Kubernetes, the Secret {settings.api_key.name} fills it.",
            )
        url = f"{settings.endpoint.rstrip('/')}/chat/completions"
        return cls(url, settings.model, settings.prompt or INSTRUCTION, settings.max_new_tokens, settings.batch_size)

    @property
    def identity(self) -> str:
        """What captions depend on beside the picture."""
        return hashlib.sha256(repr((self.url, self.model, self.prompt, self.max_tokens)).encode()).hexdigest()

    def __call__(self, pictures: Sequence[Shown]) -> Captions:
        """Return a caption of each picture.

        Raises:
            RetryLater: when the endpoint does not answer after several tries.
            SpecInvalid: when it refuses every request: a wrong address, model or key.

        """
        with ThreadPoolExecutor(self.at_once) as threads:
            return list(threads.map(self._caption, pictures))

    def _caption(self, shown: Shown) -> str | Silence:
        for attempt in range(TRIES):
            try:
                return self._ask(shown)
            except _BusyError as error:
                if attempt + 1 == TRIES:
                    raise RetryLater(
                        f"{self.url} did not answer after {TRIES} tries: {error}.",
                        hint="Look at the endpoint, then run again: captions that were written are kept.",
                    ) from error
                time.sleep(min(LONGEST_PAUSE_S, self.pause_s * 2**attempt if error.after_s is None else error.after_s))
        raise AssertionError

    def _ask(self, shown: Shown) -> str | Silence:
        status, headers, data = self._post(json.dumps(self._question(shown)).encode())
        if status == HTTPStatus.OK:
            return _caption_in(data)
        why = f"{status} {_error_in(data)}".strip()
        if status in BUSY:
            raise _BusyError(why, _seconds(headers.get("Retry-After")))
        if status in REFUSED:
            raise SpecInvalid(f"{FIELD}: {self.url} answered {why}.", hint=f"Check endpoint, model and {KEY}.")
        return Silence(f"the endpoint answered {why}")

    def _question(self, shown: Shown) -> dict[str, Any]:
        picture = f"data:image/png;base64,{base64.b64encode(shown.png).decode()}"
        content = [{"type": "text", "text": self.prompt}, {"type": "image_url", "image_url": {"url": picture}}]
        message = {"role": "user", "content": content}
        return {"model": self.model, "messages": [message], "max_tokens": self.max_tokens, "temperature": 0, "seed": 0}

    def _post(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.request("POST", parts.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, _bounded(answer)
        except (OSError, http.client.HTTPException) as error:
            raise _BusyError(str(error) or type(error).__name__) from error
        finally:
            connection.close()


def _bounded(answer: http.client.HTTPResponse) -> bytes:
    """Return the start of an answer: no more than the limit, and no longer than the deadline."""
    deadline, data = time.monotonic() + TIMEOUT_S, b""
    while len(data) < MAX_ANSWER and time.monotonic() < deadline:
        block = answer.read1(MAX_ANSWER - len(data))
        if not block:
            break
        data += block
    return data


def _caption_in(data: bytes) -> str | Silence:
    try:
        content = json.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return Silence("the endpoint's answer has no choices[0].message.content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = " ".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else Silence("the endpoint's answer is no text")


def _error_in(data: bytes) -> str:
    try:
        told = json.loads(data)["error"]
        message = told["message"] if isinstance(told, dict) else told
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return ascii(message)[1:200] if isinstance(message, str) else ""


def _seconds(told: str | None) -> float | None:
    return float(told) if told is not None and told.isdecimal() else None
