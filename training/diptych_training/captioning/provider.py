"""What a captioner is: pictures in, sentences or reasons out."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import PIL.Image

from diptych_api.dataset import Captioning

INSTRUCTION: Final = (
    "Describe this picture in one sentence, as a caption to learn from: what it shows, its colours, and how it is made."
)
"""What is asked where the job does not say it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as a captioner sees it: PNG, its longer side no longer than asked for."""

    key: str
    png: bytes

    def picture(self) -> PIL.Image.Image:
        """Return its pixels."""
        return PIL.Image.open(io.BytesIO(self.png), formats=("PNG",)).convert("RGB")


@dataclass(frozen=True, slots=True)
class Silence:
    """Why there is no caption of a picture."""

    reason: str


Captions = list[str | Silence]
Captioner = Callable[[Sequence[Shown]], Captions]
"""Returns one caption, or the reason why there is none, for each picture. May be pickled."""


class TooLarge(Exception):  # noqa: N818 -- no error of a user's: it is answered by a smaller batch
    """The device's memory does not hold the batch."""


def captioner(settings: Captioning) -> tuple[str, Captioner]:
    """Return what writes captions, and what they depend on beside the picture.

    Raises:
        SpecInvalid: when a setting is missing, or a folder cannot be used.

    """
    if settings.provider == "OpenAI":
        from diptych_training.captioning.endpoint import Endpoint  # noqa: PLC0415 -- one of several

        asked = Endpoint.of(settings)
        return asked.identity, asked
    from diptych_training.captioning.networks import Network  # noqa: PLC0415 -- loads PyTorch

    network = Network.of(settings)
    return network.identity, network
