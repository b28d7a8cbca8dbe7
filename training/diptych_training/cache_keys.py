"""Names of cached tensors: digests over all that a tensor depends on. What was cached otherwise has other names."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from diptych_api.dataset import Image

CODE_VERSION: Final = 1
"""Raise it when the code from file to tensor gives other numbers: decoding, resizing, encoding."""


def latent_key(picture_sha256: str, vae_digest: str, image: Image, code_version: int = CODE_VERSION) -> str:
    """Return the name of a picture's latents: file contents, VAE weights and every setting of the transform."""
    return _digest("latent", code_version, picture_sha256, vae_digest, image.model_dump(mode="json", exclude_none=True))


def text_key(caption: str, text_digest: str, code_version: int = CODE_VERSION) -> str:
    """Return the name of a caption's embedding: its text, the tokenizer and the text encoder's weights."""
    return _digest("text", code_version, caption, text_digest)


@dataclass(frozen=True, slots=True)
class LatentKeys:
    """The names of latents of one VAE and transform, by the SHA-256 of the picture file."""

    vae_digest: str
    image: Image

    @classmethod
    def of(cls, digests: Mapping[str, str], image: Image) -> Self:
        """Return the names for the VAE of a base, by the digests of its parts."""
        return cls(digests["vae"], image)

    def __call__(self, picture_sha256: str) -> str:
        """Return the name of a picture's latents."""
        return latent_key(picture_sha256, self.vae_digest, self.image)


@dataclass(frozen=True, slots=True)
class TextKeys:
    """The names of embeddings of one text encoder, by caption."""

    text_digest: str

    @classmethod
    def of(cls, digests: Mapping[str, str]) -> Self:
        """Return the names for the text encoder and tokenizer of a base, by the digests of its parts."""
        return cls(_digest(digests["text_encoder"], digests["tokenizer"]))

    def __call__(self, caption: str) -> str:
        """Return the name of a caption's embedding."""
        return text_key(caption, self.text_digest)


@dataclass(frozen=True, slots=True)
class CacheKeys:
    """The names of everything that a base and a transform put into the cache."""

    latent: LatentKeys
    text: TextKeys

    @classmethod
    def of(cls, digests: Mapping[str, str], image: Image) -> Self:
        """Return the names for the VAE and the text encoder of a base, by the digests of its parts."""
        return cls(LatentKeys.of(digests, image), TextKeys.of(digests))


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
