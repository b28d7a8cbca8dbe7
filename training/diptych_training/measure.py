"""From the pictures of an evaluation to its measurements.

B pictures of height H and width W; latents with C channels, h high and w wide.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch

from diptych_api.after import Evaluation
from diptych_api.dataset import Dataset, Image
from diptych_api.sources import DatasetSource
from diptych_diffusion.components import Components
from diptych_diffusion.sampler import decode, evaluating
from diptych_training.data.layout import read_layout
from diptych_training.data.picture import read_picture, to_tensor
from diptych_training.distances import Picture, Pictures
from diptych_training.evaluation_files import Album
from diptych_training.judged import JUDGED_METRICS, Panel, References
from diptych_training.metrics import REAL_METRICS, RIVAL_METRICS, Evidence, Measurement, told_nothing

ENCODED_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Views:
    """What an evaluation looks at besides its own pictures."""

    known: Sequence[Measurement] = ()
    """Measured elsewhere."""
    rivals: Mapping[str, Picture] = field(default_factory=dict)
    """Pictures by caption in the style that tuning should leave."""
    references: References = tuple
    """The held-out pictures, for distances of sets."""


def measure(album: Album, settings: Evaluation, views: Views, base: Components) -> Iterator[Measurement]:
    """Yield the metrics of the settings in their order, then what else can be told.

    Real pictures of captions and rivals are seen through the VAE of ``base``. A metric that cannot be told has no
    value but a warning.
    """
    elsewhere = {measurement.result.name: measurement for measurement in views.known}
    real = _seen(base, album.real)
    rival = _seen(base, [views.rivals.get(prompt) for prompt in album.prompts])
    evidence = Evidence(album.prompts, album.tuned, album.base, real, rival)
    panel = Panel(settings.extractors, evidence, views.references, base.vae.device)
    for name in dict.fromkeys([*settings.metrics, *elsewhere, *REAL_METRICS]):
        if name in elsewhere:
            yield elsewhere[name]
        elif name in JUDGED_METRICS:
            yield JUDGED_METRICS[name](panel) if album.prompts else told_nothing(name, "There are no prompts.")
        elif name in REAL_METRICS and real is not None:
            yield REAL_METRICS[name](evidence)
        elif name in settings.metrics:
            why = "There is no real picture for every prompt." if name in REAL_METRICS else "It was not measured."
            yield told_nothing(name, why)
    if real is not None and rival is not None:
        yield from (metric(evidence) for metric in RIVAL_METRICS.values())


def through_vae(components: Components, pictures: Pictures) -> Pictures:
    """Return the pictures as the VAE gives them back: encoded to the mean and decoded."""
    vae, parts = components.vae, []
    with torch.inference_mode(), evaluating(vae):
        for start in range(0, len(pictures), ENCODED_AT_ONCE):
            chunk = pictures[start : start + ENCODED_AT_ONCE]
            pixels_B3HW = torch.stack([to_tensor(picture) for picture in chunk]).to(vae.device, vae.dtype)
            latents_BChw = components.scale_latents(vae.encode(pixels_B3HW).latent_dist.mode())
            parts.append(decode(components, latents_BChw))
    return np.concatenate(parts)


def captioned_pictures(folder: Path, image: Image) -> dict[str, Picture]:
    """Return the pictures of an ImageFolder by their first caption, the first of equals."""
    samples, _ = read_layout(folder, Dataset(source=DatasetSource(uri=str(folder)), image=image))
    return {sample.captions[0]: read_picture(sample.path, image.square) for sample in reversed(samples)}


def _seen(components: Components, pictures: Sequence[Picture | None]) -> Pictures | None:
    """Return all pictures after the VAE, or None when one is missing."""
    given = [picture for picture in pictures if picture is not None]
    if not given or len(given) < len(pictures):
        return None
    return through_vae(components, np.stack(given))
