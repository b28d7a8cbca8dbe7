"""Adapters on disk in the three forms that other programs read, safetensors and JSON only.

PEFT: a folder with adapter_config.json and adapter_model.safetensors. Diffusers: pytorch_lora_weights.safetensors.
Kohya: one .safetensors of any name, which ComfyUI and others read. The same weights give the same bytes.

A part for the text encoder is a PEFT folder of its own, ``text_encoder``, in PEFT's form, and more tensors in the same
file in the others. Its layers are named there as in CLIP's own checkpoints (``text_model.``); transformers 5 and, after
it, PEFT's form leave that out. Both are read everywhere.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from diptych_api.errors import AdapterInvalid, UnsupportedHere
from diptych_diffusion.adapter_bytes import (
    DIFFUSERS_WEIGHTS,
    PEFT_WEIGHTS,
    find_weights,
    parse_settings,
    write_tensors,
)
from diptych_diffusion.adapter_settings import assemble, assemble_even, own_record, settings_of
from diptych_diffusion.adapter_weights import AdapterWeights, find_fault
from diptych_diffusion.kohya import PREFIX as KOHYA_PREFIX
from diptych_diffusion.kohya import TEXT_PREFIX as KOHYA_TEXT_PREFIX
from diptych_diffusion.kohya import from_kohya, to_kohya
from diptych_diffusion.safe_files import load_tensors, read_header, read_json

PEFT_CONFIG: Final = "adapter_config.json"
PEFT_PREFIX: Final = "base_model.model."
DIFFUSERS_PREFIX: Final = "unet."
DIFFUSERS_TEXT_PREFIX: Final = "text_encoder."
DIFFUSERS_SETTINGS: Final = "lora_adapter_metadata"
TEXT_FOLDER: Final = "text_encoder"
TEXT_ROOT: Final = "text_model."
TEXT_PARTS: Final = (TEXT_ROOT, ".self_attn.")
"""Names that layers of CLIP have and those of a UNet have not; peft's files do not say which model they adapt."""


def save_peft(folder: Path, weights: AdapterWeights) -> list[Path]:
    """Write adapter_config.json and adapter_model.safetensors, and both for a text encoder; return all paths."""
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
    files = [folder / PEFT_CONFIG, write_tensors(folder / PEFT_WEIGHTS, tensors, own_record(weights))]
    text = weights.text_encoder
    return files if text is None else [*files, *save_peft(folder / TEXT_FOLDER, text)]


def save_diffusers(folder: Path, weights: AdapterWeights) -> Path:
    """Write pytorch_lora_weights.safetensors, its header with alpha, without which diffusers assumes alpha = rank."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {DIFFUSERS_PREFIX + name: value for name, value in settings_of(weights).items()}
    tensors = {DIFFUSERS_PREFIX + key: tensor for key, tensor in weights.state.items()}
    if (text := weights.text_encoder) is not None:
        settings |= {DIFFUSERS_TEXT_PREFIX + name: value for name, value in settings_of(text).items()}
        tensors |= {DIFFUSERS_TEXT_PREFIX + TEXT_ROOT + key: tensor for key, tensor in text.state.items()}
    metadata = {**own_record(weights), DIFFUSERS_SETTINGS: json.dumps(settings, sort_keys=True)}
    return write_tensors(folder / DIFFUSERS_WEIGHTS, tensors, metadata)


def save_kohya(path: Path, weights: AdapterWeights) -> Path:
    """Write one file with an alpha for each layer; rsLoRA is folded into alpha. Raises UnsupportedHere for DoRA."""
    tensors = to_kohya(weights.state, weights.scale)
    if (text := weights.text_encoder) is not None:
        state = {TEXT_ROOT + key: tensor for key, tensor in text.state.items()}
        tensors |= to_kohya(state, text.scale, KOHYA_TEXT_PREFIX)
    alpha = weights.scale * weights.rank
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(weights.rank),
        "ss_network_alpha": f"{alpha}",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_tensors(path, tensors, {**own_record(weights), **metadata})


def load_adapter(path: Path) -> AdapterWeights:
    """Return the adapter in a folder or file of any of the three forms; the names of its tensors tell which.

    Raises:
        AdapterInvalid: pickles, empty or broken files, names or shapes that are no LoRA, numbers that are not finite.
        UnsupportedHere: an adapter of a text encoder alone or of two, DoRA in a kohya file, ranks or alphas by pattern.

    """
    file = find_weights(path)
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
        if key.startswith((DIFFUSERS_TEXT_PREFIX, KOHYA_TEXT_PREFIX)):
            continue
        if key.startswith(("lora_te", "text_encoder")):
            raise UnsupportedHere(f"{file} adapts two text encoders ({key}).", hint="Use an adapter of SD 1.x or 2.x.")
        prefix = next((prefix for prefix in readers if key.startswith(prefix)), None)
        if prefix is None:
            raise AdapterInvalid(f"{file} has the key {key}, which is no LoRA of PEFT, diffusers or kohya.")
        if any(part in key for part in TEXT_PARTS):
            raise _text_alone(file, key)
        forms.setdefault(prefix, key)
    if not forms:
        raise _text_alone(file, min(tensors))
    if len(forms) > 1:
        raise AdapterInvalid(f"{file} mixes forms: {' and '.join(sorted(forms.values()))}.")
    return readers[next(iter(forms))]


def _text_alone(file: Path, key: str) -> UnsupportedHere:
    return UnsupportedHere(f"{file} adapts a text encoder without a UNet ({key}).", hint="Use one that has both.")


def _read_peft(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterWeights:
    weights = _peft(file, tensors, metadata)
    beside = file.parent / TEXT_FOLDER / PEFT_WEIGHTS
    if not beside.is_file():
        return weights
    text = _peft(beside, load_tensors(beside, error=AdapterInvalid), {})
    return replace(weights, text_encoder=_as_ours(text))


def _peft(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterWeights:
    if not (file.parent / PEFT_CONFIG).is_file():
        raise AdapterInvalid(f"{file} has no {PEFT_CONFIG} beside it, so its alpha is unknown.")
    settings = read_json(file.parent / PEFT_CONFIG, error=AdapterInvalid)
    return assemble(file, _stripped(tensors, PEFT_PREFIX), settings, metadata)


def _read_diffusers(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterWeights:
    packed: dict[str, Any] = {}
    if DIFFUSERS_SETTINGS in metadata:
        packed = parse_settings(file, DIFFUSERS_SETTINGS, metadata[DIFFUSERS_SETTINGS])

    def read(prefix: str, metadata: Mapping[str, str]) -> AdapterWeights:
        state, settings = _part(tensors, prefix), _part(packed, prefix)
        if settings or (packed and prefix == DIFFUSERS_PREFIX):
            return assemble(file, state, settings, metadata)
        return assemble_even(file, state, {}, metadata)

    return _both(tensors, (DIFFUSERS_PREFIX, DIFFUSERS_TEXT_PREFIX), metadata, read)


def _read_kohya(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterWeights:
    def read(prefix: str, metadata: Mapping[str, str]) -> AdapterWeights:
        state, alphas = from_kohya({key: tensor for key, tensor in tensors.items() if key.startswith(prefix)})
        return assemble_even(file, state, alphas, metadata)

    return _both(tensors, (KOHYA_PREFIX, KOHYA_TEXT_PREFIX), metadata, read)


def _both(
    tensors: Mapping[str, Tensor],
    prefixes: tuple[str, str],
    metadata: Mapping[str, str],
    read: Callable[[str, Mapping[str, str]], AdapterWeights],
) -> AdapterWeights:
    """Return what a file holds for the UNet, with its part for the text encoder where it has one."""
    weights = read(prefixes[0], metadata)
    if not any(key.startswith(prefixes[1]) for key in tensors):
        return weights
    return replace(weights, text_encoder=_as_ours(read(prefixes[1], {})))


def _as_ours(text: AdapterWeights) -> AdapterWeights:
    """Return a text encoder's part with layers named as the installed transformers names them."""
    state = _stripped(text.state, TEXT_ROOT)
    return replace(text, state=state, target_modules=tuple(n.removeprefix(TEXT_ROOT) for n in text.target_modules))


def _part(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}


def _stripped(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
