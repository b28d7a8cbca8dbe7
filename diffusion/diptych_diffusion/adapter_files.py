"""Adapters on disk in the three forms that other programs read, safetensors and JSON only.

PEFT: a folder with adapter_config.json and adapter_model.safetensors. Diffusers: pytorch_lora_weights.safetensors.
Kohya: one .safetensors of any name, which ComfyUI and others read. The same weights give the same bytes.
"""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save
from torch import Tensor

from diptych_api.errors import AdapterInvalid, UnsupportedHere
from diptych_diffusion.adapter_settings import assemble, assemble_even, own_record, settings_of
from diptych_diffusion.adapter_weights import AdapterWeights, find_fault
from diptych_diffusion.kohya import PREFIX as KOHYA_PREFIX
from diptych_diffusion.kohya import from_kohya, to_kohya
from diptych_diffusion.safe_files import CODE_SUFFIXES, load_tensors, read_header, read_json

PEFT_WEIGHTS: Final = "adapter_model.safetensors"
PEFT_CONFIG: Final = "adapter_config.json"
DIFFUSERS_WEIGHTS: Final = "pytorch_lora_weights.safetensors"
PEFT_PREFIX: Final = "base_model.model."
DIFFUSERS_PREFIX: Final = "unet."
DIFFUSERS_SETTINGS: Final = "lora_adapter_metadata"
TEXT_PARTS: Final = ("text_model.", ".self_attn.")
"""Names that layers of CLIP have and those of a UNet have not; peft's files do not say which model they adapt."""


def save_peft(folder: Path, weights: AdapterWeights) -> list[Path]:
    """Write adapter_config.json and adapter_model.safetensors; return both paths."""
    base = weights.base
    config = {
        **settings_of(weights),
        "base_model_name_or_path": base.source.removeprefix("huggingFace:") if base else None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "revision": base.revision if base else None,
        "task_type": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PEFT_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tensors = {PEFT_PREFIX + key: tensor for key, tensor in weights.state.items()}
    return [folder / PEFT_CONFIG, _write(folder / PEFT_WEIGHTS, tensors, own_record(weights))]


def save_diffusers(folder: Path, weights: AdapterWeights) -> Path:
    """Write pytorch_lora_weights.safetensors, its header with alpha, without which diffusers assumes alpha = rank."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {DIFFUSERS_PREFIX + name: value for name, value in settings_of(weights).items()}
    tensors = {DIFFUSERS_PREFIX + key: tensor for key, tensor in weights.state.items()}
    metadata = {**own_record(weights), DIFFUSERS_SETTINGS: json.dumps(settings, sort_keys=True)}
    return _write(folder / DIFFUSERS_WEIGHTS, tensors, metadata)


def save_kohya(path: Path, weights: AdapterWeights) -> Path:
    """Write one file with an alpha for each layer; rsLoRA is folded into alpha. Raises UnsupportedHere for DoRA."""
    tensors = to_kohya(weights.state, weights.scale)
    alpha = weights.scale * weights.rank
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(weights.rank),
        "ss_network_alpha": f"{alpha}",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    return _write(path, tensors, {**own_record(weights), **metadata})


def load_adapter(path: Path) -> AdapterWeights:
    """Return the adapter in a folder or file of any of the three forms; the names of its tensors tell which.

    Raises:
        AdapterInvalid: pickles, empty or broken files, names or shapes that are no LoRA, numbers that are not finite.
        UnsupportedHere: text encoder layers, DoRA in a kohya file, ranks or alphas by pattern.

    """
    file = _weights_file(path)
    metadata = read_header(file, error=AdapterInvalid).get("__metadata__", {})
    tensors = load_tensors(file, error=AdapterInvalid)
    if not tensors:
        raise AdapterInvalid(
            f"{file} holds no tensors ({file.stat().st_size} bytes).",
            hint="An adapter that was merged before it was saved is lost; save it before merging.",
        )
    weights = _reader(file, tensors)(file, tensors, metadata)
    if fault := find_fault(weights):
        raise AdapterInvalid(f"The adapter {file} {fault}.", hint="Export it again with the program that made it.")
    return weights


def _weights_file(path: Path) -> Path:
    if path.is_file():
        if path.suffix != ".safetensors":
            raise AdapterInvalid(f"{path} is not a .safetensors file.", hint="Convert it; pickles are never loaded.")
        return path
    if not path.is_dir():
        raise AdapterInvalid(f"{path} is neither a file nor a folder.")
    names = sorted(file.name for file in path.iterdir() if file.suffix == ".safetensors")
    for usual in (PEFT_WEIGHTS, DIFFUSERS_WEIGHTS):
        if usual in names:
            return path / usual
    if len(names) == 1:
        return path / names[0]
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in CODE_SUFFIXES)
    found = f"several: {', '.join(names[:3])}" if names else f"only {pickles[0]}" if pickles else "none"
    raise AdapterInvalid(f"{path} must hold one .safetensors file; it has {found}.", hint="Pickles are never loaded.")


_Reader = Callable[[Path, Mapping[str, Tensor], Mapping[str, str]], AdapterWeights]


def _reader(file: Path, tensors: Mapping[str, Tensor]) -> _Reader:
    """Return the reader for the one form to which all keys belong."""
    readers: dict[str, _Reader] = {
        PEFT_PREFIX: _read_peft,
        DIFFUSERS_PREFIX: _read_diffusers,
        KOHYA_PREFIX: _read_kohya,
    }
    forms: dict[str, str] = {}
    for key in tensors:
        if key.startswith(("lora_te", "text_encoder")) or any(part in key for part in TEXT_PARTS):
            raise UnsupportedHere(f"{file} adapts the text encoder ({key}).", hint="Use an adapter of the UNet alone.")
        prefix = next((prefix for prefix in readers if key.startswith(prefix)), None)
        if prefix is None:
            raise AdapterInvalid(f"{file} has the key {key}, which is no UNet LoRA of PEFT, diffusers or kohya.")
        forms.setdefault(prefix, key)
    if len(forms) > 1:
        raise AdapterInvalid(f"{file} mixes forms: {' and '.join(sorted(forms.values()))}.")
    return readers[next(iter(forms))]


def _read_peft(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterWeights:
    if not (file.parent / PEFT_CONFIG).is_file():
        raise AdapterInvalid(f"{file} has no {PEFT_CONFIG} beside it, so its alpha is unknown.")
    settings = read_json(file.parent / PEFT_CONFIG, error=AdapterInvalid)
    return assemble(file, _stripped(tensors, PEFT_PREFIX), settings, metadata)


def _read_diffusers(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterWeights:
    state = _stripped(tensors, DIFFUSERS_PREFIX)
    if DIFFUSERS_SETTINGS not in metadata:
        return assemble_even(file, state, {}, metadata)
    packed = _parsed(file, metadata[DIFFUSERS_SETTINGS])
    settings = {key.removeprefix(DIFFUSERS_PREFIX): value for key, value in packed.items()}
    return assemble(file, state, settings, metadata)


def _read_kohya(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterWeights:
    state, alphas = from_kohya(tensors)
    return assemble_even(file, state, alphas, metadata)


def _parsed(file: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise AdapterInvalid(f"The header of {file} has a broken {DIFFUSERS_SETTINGS}.") from cause
    if not isinstance(content, dict):
        raise AdapterInvalid(f"The header of {file} has a broken {DIFFUSERS_SETTINGS}.")
    return content


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Path:
    """Write a safetensors file whose header is sorted: the library's own order of metadata changes at every call."""
    raw = save(tensors)
    length = int.from_bytes(raw[:8], "little")
    entries = json.loads(raw[8 : 8 + length])
    header = json.dumps({"__metadata__": {"format": "pt", **dict(sorted(metadata.items()))}, **entries}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + length :])
    return path


def _stripped(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
