"""What metrics ask of networks: features of pictures and texts, probabilities of classes, distances of pairs.

B pictures of a batch, N in all, D features.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diptych_api.errors import SpecInvalid
from diptych_diffusion.safe_files import read_json
from diptych_training.distances import Picture, Pictures
from diptych_training.vision.alexnet import SMALLEST, Perceptual
from diptych_training.vision.folder import NetworkFolder
from diptych_training.vision.inception import Inception

Features = NDArray[np.float64]
"""``[N, D]``"""
Embed = Callable[[Iterable[Picture]], Features]
AT_ONCE: Final = 16
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Network:
    """Which network judged: its kind and the digest of its weights."""

    kind: str
    digest: str


@dataclass(frozen=True, slots=True)
class Embedder:
    """Gives each picture features ``[N, D]``; ``probabilities`` makes of them those of classes, where it has any."""

    network: Network
    features: Embed
    probabilities: Callable[[Features], Features] | None = None


@dataclass(frozen=True, slots=True)
class PictureAndText:
    """Places pictures and texts in one space, each a vector of length one."""

    network: Network
    pictures: Embed
    texts: Callable[[Sequence[str]], Features]


@dataclass(frozen=True, slots=True)
class PairDistance:
    """How different the pictures of each pair look."""

    network: Network
    distance: Callable[[Pictures, Pictures], list[float]]


def embedder(
    location: str, device: torch.device | str = "cpu", *, field: str = "spec.evaluation.extractors.features"
) -> Embedder:
    """Return the network for KID and FID in a folder: Inception v3, DINOv2 or CLIP.

    Raises:
        SpecInvalid: says what is wrong with the folder.

    """
    folder = NetworkFolder.open(location, field)
    if folder.kind == "inception_v3":
        return _inception(folder, device)
    if folder.kind == "clip":
        clip = picture_and_text(location, device, field=folder.field)
        return Embedder(clip.network, clip.pictures)
    if folder.kind == "dinov2":
        return _dinov2(folder, device)
    raise folder.refused("inception_v3", "dinov2", "clip")


def picture_and_text(
    location: str, device: torch.device | str = "cpu", *, field: str = "spec.evaluation.extractors.clip"
) -> PictureAndText:
    """Return the CLIP in a folder of transformers' form. Raises SpecInvalid."""
    from transformers import CLIPModel, CLIPTokenizer  # noqa: PLC0415 - takes a second

    folder = NetworkFolder.open(location, field)
    if folder.kind != "clip":
        raise folder.refused("clip")
    model, digest = folder.loaded(CLIPModel)
    clip: Any = model.to(device)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder.path, local_files_only=True)
    except (OSError, ValueError) as cause:
        raise SpecInvalid(f"{field}: {folder.path} has no tokenizer of CLIP: {cause}") from cause
    longest, side = clip.config.text_config.max_position_embeddings, clip.config.vision_config.image_size
    prepare = _prepared(folder, side, CLIP_MEAN, CLIP_STD)

    def see(pictures: Sequence[Picture]) -> Tensor:
        return _unit_length(clip.visual_projection(clip.vision_model(prepare(pictures).to(device)).pooler_output))

    def read(texts: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        return _unit_length(clip.text_projection(clip.text_model(**tokens.to(device)).pooler_output))

    return PictureAndText(
        Network("clip", digest),
        lambda pictures: _in_batches(see, pictures),
        lambda texts: _in_batches(read, texts),
    )


def perceptual(location: str, device: torch.device | str = "cpu") -> PairDistance:
    """Return LPIPS with the weights in a folder. Raises SpecInvalid."""
    folder = NetworkFolder.open(location, "spec.evaluation.extractors.lpips")
    if folder.kind != "lpips_alex":
        raise folder.refused("lpips_alex")
    net, digest = folder.filled(Perceptual())
    net.to(device)

    def compare(pairs: Sequence[tuple[Picture, Picture]]) -> Tensor:
        return torch.as_tensor(net(*(_channels_first(side).to(device) for side in zip(*pairs, strict=True))))

    def distances(a: Pictures, b: Pictures) -> list[float]:
        if min(*a.shape[1:3]) < SMALLEST:
            a, b = (np.stack([_resized(picture, 2 * SMALLEST) for picture in side]) for side in (a, b))
        return [float(value) for value in _in_batches(compare, zip(a, b, strict=True))]

    return PairDistance(Network("lpips_alex", digest), distances)


def _inception(folder: NetworkFolder, device: torch.device | str) -> Embedder:
    net, digest = folder.filled(Inception())
    net.to(device)

    weight_CD = net.fc.weight.detach().double().cpu()

    def features(pictures: Sequence[Picture]) -> Tensor:
        return torch.as_tensor(net(_channels_first(pictures).to(device)))

    def probabilities(features_ND: Features) -> Features:
        return (torch.from_numpy(features_ND) @ weight_CD.T).softmax(1).numpy()

    return Embedder(Network(folder.kind, digest), lambda pictures: _in_batches(features, pictures), probabilities)


def _dinov2(folder: NetworkFolder, device: torch.device | str) -> Embedder:
    """Return DINOv2 (arXiv 2304.07193); its features are those of the class token after the last normalisation."""
    from transformers import Dinov2Model  # noqa: PLC0415 - takes a second

    model, digest = folder.loaded(Dinov2Model)
    net: Any = model.to(device)
    match _settings(folder).get("crop_size"):
        case {"height": int(side)} | int(side):
            pass
        case _:
            side = net.config.image_size
    prepare = _prepared(folder, side, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return Embedder(
        Network(folder.kind, digest),
        lambda pictures: _in_batches(lambda batch: net(prepare(batch).to(device)).pooler_output, pictures),
    )


def _settings(folder: NetworkFolder) -> dict[str, Any]:
    path = folder.path / "preprocessor_config.json"
    return read_json(path, error=SpecInvalid) if path.is_file() else {}


def _prepared(
    folder: NetworkFolder, side: int, mean: Sequence[float], std: Sequence[float]
) -> Callable[[Sequence[Picture]], Tensor]:
    """Return what makes square pictures the network's input: bicubic to its side, normalised as its folder says."""
    settings = _settings(folder)
    given = (settings.get("image_mean") or mean, settings.get("image_std") or std)
    try:
        mean_C, std_C = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in given)
    except (TypeError, ValueError, RuntimeError) as cause:
        message = f"{folder.field}: image_mean or image_std of {folder.path} are not three numbers."
        raise SpecInvalid(message) from cause

    def prepare(pictures: Sequence[Picture]) -> Tensor:
        small_B3HW = _channels_first([_resized(picture, side) for picture in pictures])
        return torch.as_tensor((small_B3HW.float() / 255 - mean_C) / std_C)

    return prepare


def _resized(picture: Picture, side: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def _channels_first(pictures: Iterable[Picture]) -> Tensor:
    return torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2).contiguous()


def _unit_length(x_BD: Tensor) -> Tensor:
    return torch.as_tensor(x_BD / torch.linalg.vector_norm(x_BD, dim=1, keepdim=True))


def _in_batches(see: Callable[[Any], Tensor], things: Iterable[Any]) -> Features:
    parts = list(_parts(see, things))
    return np.concatenate(parts) if parts else np.zeros((0, 1))


@torch.inference_mode()
def _parts(see: Callable[[Any], Tensor], things: Iterable[Any]) -> Iterator[Features]:
    left = iter(things)
    while batch := list(islice(left, AT_ONCE)):
        yield see(batch).double().cpu().numpy()
