"""Prompts to token ids and text embeddings, as an unmodified Stable Diffusion pipeline does it.

Shapes: B prompts, L tokens (77 for CLIP), D text encoder width.
"""

from collections.abc import Sequence

from torch import Tensor

from diptych_diffusion.components import Components


def tokenize(components: Components, prompts: Sequence[str]) -> Tensor:
    """Return ids ``[B, L]`` int64 on the CPU, cut and padded to L."""
    encoding = components.tokenizer(
        list(prompts), padding="max_length", max_length=components.max_tokens, truncation=True, return_tensors="pt"
    )
    ids_BL: Tensor = encoding["input_ids"]
    return ids_BL


def is_truncated(components: Components, prompt: str) -> bool:
    """Whether the prompt has more tokens than the text encoder reads; the rest has no effect on a picture."""
    ids = components.tokenizer(prompt, truncation=False, verbose=False)["input_ids"]
    return len(ids) > components.max_tokens


def encode(components: Components, prompts: Sequence[str]) -> Tensor:
    """Return embeddings ``[B, L, D]`` float32 on the text encoder's device.

    The last hidden state after the final layer norm, without an attention mask; Stable Diffusion 2 leaves the last
    layer out of its text encoder's files, so that this is its penultimate layer. Gradients flow when enabled.
    """
    ids_BL = tokenize(components, prompts).to(components.text_encoder.device)
    embeddings_BLD: Tensor = components.text_encoder(ids_BL)[0]
    return embeddings_BLD.float()
