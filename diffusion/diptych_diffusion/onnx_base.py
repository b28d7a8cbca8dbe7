"""A base's UNet for ONNX Runtime: its graph is made once, compared with PyTorch, and kept."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx_ir as ir
import onnxruntime
import onnxscript
import torch
from torch.onnx import OnnxExporterError

from diptych_api.errors import ArtifactInvalid
from diptych_diffusion.components import Components
from diptych_diffusion.onnx_file import FILE, OPSET, write_part
from diptych_diffusion.onnx_parity import compare
from diptych_diffusion.onnx_parts import example, latent_step, sizes, unet_part
from diptych_diffusion.onnx_unet import OnnxUNet
from diptych_diffusion.staging import FILES, full_disk_named, is_complete, staged
from diptych_diffusion.unet_files import UNetWeights

FOLDER: Final = "onnx"


def load_onnx_unet(components: Components, cache: Path) -> OnnxUNet:
    """Return the UNet of a base that is loaded in float32 on the CPU; its file is below ``cache``, made if missing.

    Raises:
        ArtifactInvalid: when no graph can be made of it, or ONNX Runtime does not compute what PyTorch computes.
        StoreUnwritable: when the file has no room.

    """
    final = cache / FOLDER / _name(components)
    if not is_complete(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        with full_disk_named(cache), staged(final) as folder:
            _write(components, folder)

    def like(weights: UNetWeights) -> OnnxUNet:
        digests = {**components.digests, "unet": weights.digest}
        return load_onnx_unet(replace(components, unet=weights.unet, digests=digests), cache)

    return OnnxUNet(final / FILES / FILE, latent_step(components), like)


def _write(components: Components, folder: Path) -> None:
    part = unet_part(components)
    try:
        file = write_part(part, example(components), folder)
    except OnnxExporterError as cause:
        raise ArtifactInvalid(f"PyTorch cannot make a graph of the UNet: {cause}"[:500]) from cause
    compare(part, file, sizes(components))


def _name(components: Components) -> str:
    """Return a name that is another one where the file would be: of the UNet, and of what writes and runs it."""
    config = {name: value for name, value in components.denoiser.config.items() if not name.startswith("_")}
    makers = [f"{library.__name__} {library.__version__}" for library in (torch, ir, onnxscript, onnxruntime)]
    facts = [components.digests["unet"], json.dumps(config, sort_keys=True), f"opset {OPSET}", *makers]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
