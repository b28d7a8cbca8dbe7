"""The tokenizer of a base, from its folder. Loads without diffusers, whose models take seconds."""

from pathlib import Path

from transformers import CLIPTokenizer

from diptych_api.errors import BaseInvalid
from diptych_diffusion.base_files import check_config


def load_tokenizer(place: Path) -> CLIPTokenizer:
    """Return the tokenizer in a folder. Raises BaseInvalid."""
    if not ((place / "tokenizer.json").is_file() or (place / "vocab.json").is_file()):
        raise BaseInvalid(f"{place} has neither tokenizer.json nor vocab.json.")
    if (place / "tokenizer_config.json").exists():
        check_config(place / "tokenizer_config.json")
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as cause:
        raise BaseInvalid(f"{place} cannot be loaded: {cause}") from cause
    return tokenizer
