"""One model of a pipeline folder: a config and safetensors, checked before anything of them is believed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from diptych_api.errors import BaseInvalid
from diptych_diffusion.base_files import check_config, stored_files
from diptych_diffusion.fingerprint import weights_digest
from diptych_diffusion.safe_files import load_stored


def load_model(place: Path, kind: Any, dtype: torch.dtype) -> tuple[Any, str]:  # noqa: ANN401 - no common base class
    """Return the model of class ``kind`` in a folder, as ``dtype``, and the digest of its stored weights.

    Raises:
        BaseInvalid: names the file that is missing, unsafe or inconsistent.

    """
    check_config(place / "config.json")
    stem = "model" if issubclass(kind, PreTrainedModel) else "diffusion_pytorch_model"
    variant, files = stored_files(place, stem)
    digest = weights_digest(load_stored(place, files))
    try:
        with no_progress_bar():
            model, found = kind.from_pretrained(
                place,
                dtype=dtype,
                variant=variant,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, StrictDataclassError) as cause:
        raise BaseInvalid(f"{place} cannot be loaded: {cause}") from cause
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        if cases := sorted(map(str, found[problem])):
            raise BaseInvalid(
                f"{place} has {len(cases)} {problem.replace('_', ' ')}, such as {cases[0]}.",
                hint="The weights and config.json do not belong together.",
            )
    return model, digest


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keep the progress bars of transformers and diffusers off the screen while the body runs."""
    shown = [logging for logging in (transformers_logging, diffusers_logging) if logging.is_progress_bar_enabled()]
    for logging in shown:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging in shown:
            logging.enable_progress_bar()
