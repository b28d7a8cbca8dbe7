"""Captions by a vision model behind an OpenAI-compatible endpoint."""

import base64
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

from diptych_api.dataset import Captioning
from diptych_api.errors import SpecInvalid, UnsupportedHere
from diptych_training.captioning.provider import INSTRUCTION, Captions, Shown, Silence
from diptych_training.chat import KEY, Chat, UnansweredError

FIELD: Final = "spec.dataset.captioning"
KEPT: Final = "Look at the endpoint, then run again: captions that were written are kept."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Asks an endpoint for captions, several at once."""

    chat: Chat
    prompt: str
    max_tokens: int
    at_once: int

    @classmethod
    def of(cls, settings: Captioning) -> Self:
        """Return the endpoint that the settings name. Raises SpecInvalid, UnsupportedHere."""
        if settings.endpoint is None or settings.model is None:
            lacking = "endpoint" if settings.endpoint is None else "model"
            raise SpecInvalid(f"{FIELD}.{lacking}: provider OpenAI needs it.")
        chat = Chat.at(settings.endpoint, settings.model, FIELD, KEPT)
        if settings.api_key is not None and not os.environ.get(KEY):
            raise UnsupportedHere(
                f"{FIELD}.apiKey: the environment variable {KEY} is not set.",
                hint=f"export {KEY}=… On Kubernetes, the Secret {settings.api_key.name} fills it.",
            )
        return cls(chat, settings.prompt or INSTRUCTION, settings.max_new_tokens, settings.batch_size)

    @property
    def identity(self) -> str:
        """What captions depend on beside the picture."""
        told = (self.chat.url, self.chat.model, self.prompt, self.max_tokens)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def __call__(self, pictures: Sequence[Shown]) -> Captions:
        """Return a caption of each picture. Raises RetryLater and SpecInvalid as `Chat.ask` does."""
        with ThreadPoolExecutor(self.at_once) as threads:
            return list(threads.map(self._caption, pictures))

    def _caption(self, shown: Shown) -> str | Silence:
        picture = f"data:image/png;base64,{base64.b64encode(shown.png).decode()}"
        content: list[dict[str, Any]] = [
            {"type": "text", "text": self.prompt},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
        try:
            return self.chat.ask(content, self.max_tokens)
        except UnansweredError as error:
            return Silence(str(error))
