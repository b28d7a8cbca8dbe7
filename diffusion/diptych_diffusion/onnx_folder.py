"""A whole model for ONNX Runtime: three graphs, and what else a pipeline needs, as Optimum and diffusers lay it out."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import diffusers
import onnx
import onnxruntime
import onnxscript
import torch

from diptych_diffusion.components import Components
from diptych_diffusion.folder_kinds import INDEX, PARITY
from diptych_diffusion.onnx_file import OPSET, write_part
from diptych_diffusion.onnx_parity import BOUND, Parity, compare
from diptych_diffusion.onnx_parts import example, parts_of, pixel_step, sizes
from diptych_diffusion.schedulers import published_scheduler


def write_onnx(folder: Path, components: Components, made_from: dict[str, Any], tell: Callable[[Parity], None]) -> None:
    """Fill a folder, and compare each graph with the network that it was made of; ``tell`` hears of each.

    The components, float32 on the CPU, keep the adapter that is attached to them; what is written has it merged.
    parity.json comes last, with ``made_from`` in it.

    Raises:
        ArtifactInvalid: when a graph differs by more than is allowed.

    """
    found = []
    for part in parts_of(components):
        place = folder / part.name
        file = write_part(part, example(components), place)
        shutil.copyfile(components.folder / part.config / "config.json", place / "config.json")
        found.append(compare(part, file, sizes(components)))
        tell(found[-1])
    shutil.copytree(components.folder / "tokenizer", folder / "tokenizer")
    scheduler = published_scheduler(components.scheduler_config)
    scheduler.save_pretrained(folder / "scheduler")
    _write_json(folder / INDEX, _index(type(scheduler).__name__))
    _write_json(folder / PARITY, {**made_from, **_report(components, folder, found)})


def _index(scheduler: str) -> dict[str, Any]:
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _report(components: Components, folder: Path, found: Sequence[Parity]) -> dict[str, Any]:
    return {
        "format": "diptych.onnx-parity/1",
        "opset": OPSET,
        "versions": {library.__name__: library.__version__ for library in (torch, onnx, onnxscript, onnxruntime)},
        "picture_sides_are_multiples_of": pixel_step(components),
        "allowed_share_of_largest_output": BOUND,
        "parts": {parity.part: _told(parity, folder / parity.part) for parity in found},
    }


def _told(parity: Parity, place: Path) -> dict[str, Any]:
    return {
        "bytes": sum(path.stat().st_size for path in place.glob("model.onnx*")),
        "max_abs_diff": parity.max_abs_diff,
        "cases": [asdict(case) for case in parity.cases],
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
