"""Ways to judge pictures, one in a process of its own: `python eval_ways.py FOLDER WAY`.

Each loads the network in the folder, reads the pictures and computes figures. It prints one line of JSON: figures by
name, one or one for each picture, and the seconds that it took, without imports. It stands alone, so that a way whose
libraries are not Diptych's runs in an environment of its own.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

Figures = dict[str, list[float]]
AT_ONCE = 16
LOOKS_AT = {"0": 1, "3": 2, "6": 3, "8": 4, "10": 5}
"""Slices of lpips' AlexNet by the layers that torchvision counts."""


def our_sets(folder: Path) -> Figures:
    """Judge sets as an evaluation does, with Inception v3."""
    networks, sets = _module("diptych_training.vision.networks"), _module("diptych_training.set_metrics")
    judge = networks.embedder(str(folder / "inception"))
    drawn, real = _pictures(folder / "drawn"), _pictures(folder / "real")
    features, once = [judge.features(drawn), judge.features(real)], [np.ones(len(drawn)), np.ones(len(real))]
    scored = sets.inception_score(judge.probabilities(features[0]))
    found = {"FID": sets.fid(*features), "KID": sets.kid(*features), "InceptionScore": scored}
    return {name: [statistic(*once)] for name, statistic in found.items()}


def torch_fidelity_sets(folder: Path) -> Figures:
    """Judge sets by torch-fidelity's own function; its KID looks at all pictures at once, as ours does."""
    drawn, real = ([torch.from_numpy(x).permute(2, 0, 1) for x in _pictures(folder / s)] for s in ("drawn", "real"))
    found = _module("torch_fidelity").calculate_metrics(
        input1=_Listed(drawn),
        input2=_Listed(real),
        feature_extractor_weights_path=str(folder / "inception" / "weights.pth"),
        isc=True,
        fid=True,
        kid=True,
        isc_splits=1,
        kid_subsets=1,
        kid_subset_size=len(drawn),
        batch_size=AT_ONCE,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    names = {"FID": "frechet_inception_distance", "KID": "kernel_inception_distance_mean"}
    return {name: [float(found[key])] for name, key in (names | {"InceptionScore": "inception_score_mean"}).items()}


def our_pairs(folder: Path) -> Figures:
    """Judge pairs as an evaluation does."""
    judge = _module("diptych_training.vision.networks").perceptual(str(folder / "lpips"))
    return {"LPIPS": judge.distance(np.stack(_pictures(folder / "drawn")), np.stack(_pictures(folder / "real")))}


def lpips_pairs(folder: Path) -> Figures:
    """Judge pairs by lpips."""
    judge = _module("lpips").LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    state = _module("safetensors.torch").load_file(folder / "lpips" / "model.safetensors")
    judge.load_state_dict({_in_slices(name): weight for name, weight in state.items()}, strict=False)
    sides = [torch.from_numpy(np.stack(_pictures(folder / side))).permute(0, 3, 1, 2) for side in ("drawn", "real")]
    found: list[float] = []
    with torch.no_grad():
        for pair in zip(*(side.split(AT_ONCE) for side in sides), strict=True):
            found += judge(*(side.float() / 127.5 - 1 for side in pair)).flatten().tolist()
    return {"LPIPS": found}


def our_prompts(folder: Path) -> Figures:
    """Hold pictures against prompts as an evaluation does."""
    judge = _module("diptych_training.vision.networks").picture_and_text(str(folder / "clip"))
    return {"CLIPScore": (judge.pictures(_pictures(folder / "drawn")) * judge.texts(_prompts(folder))).sum(1).tolist()}


def open_clip_prompts(folder: Path) -> Figures:
    """Hold pictures against prompts by open_clip, its own tokenizer and its own preparation of pictures."""
    open_clip = _module("open_clip")
    judge = (
        _module("open_clip.model")
        .CLIP(
            embed_dim=512,
            vision_cfg={"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
            text_cfg={"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
            quick_gelu=True,
        )
        .eval()
    )
    state = _module("safetensors.torch").load_file(folder / "clip" / "model.safetensors")
    judge.load_state_dict(_module("eval_clip_names").as_open_clip(state))
    prepare, words = open_clip.image_transform(224, is_train=False), open_clip.SimpleTokenizer()(_prompts(folder))
    inputs = torch.stack([prepare(PIL.Image.fromarray(picture)) for picture in _pictures(folder / "drawn")])
    found: list[float] = []
    with torch.no_grad():
        for seen, read in zip(inputs.split(AT_ONCE), words.split(AT_ONCE), strict=True):
            both = judge.encode_image(seen, normalize=True) * judge.encode_text(read, normalize=True)
            found += both.sum(1).tolist()
    return {"CLIPScore": found}


def words(folder: Path) -> Figures:
    """Write the weights of Inception as torch-fidelity alone reads them, a pickle, and the vocabulary of open_clip."""
    state = _module("safetensors.torch").load_file(folder / "inception" / "model.safetensors")
    torch.save(state, folder / "inception" / "weights.pth")
    theirs = _module("open_clip").SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): number for token, number in theirs.encoder.items()}
    told = {"vocabulary": vocabulary, "merges": list(theirs.bpe_ranks)}
    (folder / "clip" / "words.json").write_text(json.dumps(told), encoding="utf-8")
    return {}


OURS: dict[str, Callable[[Path], Figures]] = {"sets": our_sets, "pairs": our_pairs, "prompts": our_prompts}
THEIRS: dict[str, Callable[[Path], Figures]] = {
    "sets": torch_fidelity_sets,
    "pairs": lpips_pairs,
    "prompts": open_clip_prompts,
    "words": words,
}
NEEDED = {
    "ours": ("diptych_training.vision.networks", "diptych_training.set_metrics", "transformers.models.clip"),
    "theirs": ("torch_fidelity", "lpips", "open_clip.model", "safetensors.torch", "eval_clip_names"),
}


class _Listed(torch.utils.data.Dataset):  # type: ignore[type-arg]  # torch-fidelity asks for this class
    """Pictures as torch-fidelity takes them."""

    def __init__(self, pictures: list[torch.Tensor]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.pictures[index]


def _module(name: str) -> Any:  # noqa: ANN401 - of another environment
    return importlib.import_module(name)


def _pictures(folder: Path) -> list[Any]:
    found = []
    for path in sorted(folder.iterdir()):
        with PIL.Image.open(path) as picture:
            found.append(np.array(picture))
    return found


def _prompts(folder: Path) -> list[str]:
    return list(json.loads((folder / "prompts.json").read_text(encoding="utf-8")))


def _in_slices(name: str) -> str:
    kind, _, rest = name.partition(".")
    layer = rest.partition(".")[0]
    return f"net.slice{LOOKS_AT[layer]}.{rest}" if kind == "features" else name


def main(folder: Path, who: str, way: str) -> None:
    """Go one way and print what it found and took."""
    for name in NEEDED[who]:
        importlib.import_module(name)
    cpu, clock = time.process_time(), time.perf_counter()
    figures = (OURS if who == "ours" else THEIRS)[way](folder)
    print(json.dumps({"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - clock, "figures": figures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
