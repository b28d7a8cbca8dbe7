"""Adapter files that are hostile, broken or not supported: /ready names the reason, the base stands in and says so."""

import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych_api.training import LoRA
from diptych_diffusion.adapter_files import save_diffusers, save_kohya, save_peft
from diptych_diffusion.adapter_weights import AdapterWeights
from support.adapters import random_adapter
from support.services import Served, picture_of, served
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

DEFAULTS = {"steps": 2, "guidanceScale": 1}
PEFT_FILE, DIFFUSERS_FILE = "adapter_model.safetensors", "pytorch_lora_weights.safetensors"
TEXT_LAYER = "text_model.encoder.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def good(base: Path) -> AdapterWeights:
    return random_adapter(base)


@pytest.fixture(scope="module")
def dora(base: Path) -> AdapterWeights:
    return random_adapter(base, lora=LoRA(rank=4, alpha=8, use_dora=True))


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory, good: AdapterWeights) -> Path:
    """The folder of an adapter that is served."""
    folder = tmp_path_factory.mktemp("fine")
    save_peft(folder, good)
    return folder


@pytest.fixture(scope="module")
def service(base: Path) -> Iterator[Served]:
    with served(base) as service:
        yield service


def answer_for(service: Served, bad: Path, fine: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Serve a bad adapter and a fine one; return what /ready says of the bad one and the reply for both."""
    adapters = [{"name": "bad", "uri": str(bad)}, {"name": "fine", "uri": str(fine)}]
    service.configure(adapters=adapters, defaults=DEFAULTS)
    ready = service.client.get("/ready")
    assert ready.status_code == 200
    reply = service.client.post("/v1/compare", json={"prompt": "a dog", "seed": 7})
    assert reply.status_code == 200, reply.text
    return ready.json()["adapters"]["bad"], reply.json()


def changed(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], object]:
    """Return what spoils the tensors of a PEFT file."""

    def spoil(folder: Path) -> None:
        tensors = load_file(folder / PEFT_FILE)
        change(tensors)
        save_file(tensors, folder / PEFT_FILE)

    return spoil


def fill(value: float) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: min(tensors.items())[1].fill_(value)


def reshape(tensors: dict[str, Tensor]) -> None:
    for key in [key for key in tensors if key.endswith("lora_A.weight")]:
        tensors[key] = torch.ones(tensors[key].shape[0], 5)


def huge_header(folder: Path) -> None:
    (folder / PEFT_FILE).write_bytes(struct.pack("<Q", 1 << 40) + b"{}")


def long_header(folder: Path) -> None:
    header = b'{"__metadata__": {"x": "' + b"x" * (9 << 20) + b'"}}'
    (folder / PEFT_FILE).write_bytes(struct.pack("<Q", len(header)) + header)


def endless_offsets(folder: Path) -> None:
    entry = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    header = json.dumps({"base_model.model.to_q.lora_A.weight": entry}).encode()
    (folder / PEFT_FILE).write_bytes(struct.pack("<Q", len(header)) + header)


def renamed_pickle(folder: Path) -> None:
    (folder / PEFT_FILE).write_bytes(pickle.dumps({"a": 1}))


def only_a_pickle(folder: Path) -> None:
    (folder / PEFT_FILE).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"a": 1}))


def cut_off(folder: Path) -> None:
    content = (folder / PEFT_FILE).read_bytes()
    (folder / PEFT_FILE).write_bytes(content[: len(content) // 2])


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "huge header": (huge_header, "is not a safetensors file: its header would be 1099511627776 bytes"),
    "long header": (long_header, "is not a safetensors file: its header would be"),
    "endless offsets": (endless_offsets, "has a broken safetensors header"),
    "renamed pickle": (renamed_pickle, "is not a safetensors file"),
    "only a pickle": (only_a_pickle, "it has only adapter_model.bin"),
    "cut off": (cut_off, "has a broken safetensors header"),
    "wrong shapes": (changed(reshape), "where this UNet needs"),
    "NaN": (changed(fill(torch.nan)), "that are not finite"),
    "infinity": (changed(fill(torch.inf)), "that are not finite"),
    "no tensors": (changed(lambda tensors: tensors.clear()), "holds no tensors"),
}


def check_refused(service: Served, folder: Path, fine: Path, words: str) -> None:
    """Check that an adapter is refused with its reason, and that base and fine adapter draw on."""
    facts, reply = answer_for(service, folder, fine)
    plain, bad, other = reply["images"]
    assert facts["state"] == "Failed"
    assert words in facts["message"]
    assert (bad["adapter"], bad["requested_adapter"]) == (None, "bad")
    assert words in bad["degraded"]
    assert np.array_equal(picture_of(bad["image"]), picture_of(plain["image"]))
    assert (other["adapter"], other["degraded"]) == ("fine", None)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_with_the_reason(
    service: Served, good: AdapterWeights, fine: Path, tmp_path: Path, case: str
) -> None:
    spoil, words = HOSTILE[case]
    save_peft(tmp_path / "bad", good)
    spoil(tmp_path / "bad")
    check_refused(service, tmp_path / "bad", fine, words)


def kohya_dora(folder: Path, good: AdapterWeights) -> None:
    file = save_kohya(folder / "style.safetensors", good)
    tensors = load_file(file)
    name = next(key.removesuffix(".lora_up.weight") for key in tensors if key.endswith(".lora_up.weight"))
    tensors[f"{name}.dora_scale"] = torch.ones(32, 1)
    save_file(tensors, file)


def only_a_text_layer(folder: Path, file: str, down: str, up: str) -> None:
    save_file({down: torch.ones(4, 32), up: torch.ones(32, 4)}, folder / file)


def peft_text(folder: Path, good: AdapterWeights) -> None:
    save_peft(folder, good)
    layer = f"base_model.model.{TEXT_LAYER}"
    only_a_text_layer(folder, PEFT_FILE, f"{layer}.lora_A.weight", f"{layer}.lora_B.weight")


def diffusers_text(folder: Path, good: AdapterWeights) -> None:
    save_diffusers(folder, good)
    layer = f"text_encoder.{TEXT_LAYER}"
    only_a_text_layer(folder, DIFFUSERS_FILE, f"{layer}.lora_A.weight", f"{layer}.lora_B.weight")


def kohya_text(folder: Path, good: AdapterWeights) -> None:
    save_kohya(folder / "style.safetensors", good)
    layer = f"lora_te_{TEXT_LAYER.replace('.', '_')}"
    only_a_text_layer(folder, "style.safetensors", f"{layer}.lora_down.weight", f"{layer}.lora_up.weight")


UNSUPPORTED: dict[str, tuple[Callable[[Path, AdapterWeights], object], str]] = {
    "DoRA, kohya": (kohya_dora, "A kohya file cannot hold a DoRA"),
    "text encoder alone, PEFT": (peft_text, "adapts a text encoder without a UNet"),
    "text encoder alone, diffusers": (diffusers_text, "adapts a text encoder without a UNet"),
    "text encoder alone, kohya": (kohya_text, "adapts a text encoder without a UNet"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_name(
    service: Served, good: AdapterWeights, fine: Path, tmp_path: Path, case: str
) -> None:
    write, words = UNSUPPORTED[case]
    write(tmp_path / "bad", good)
    check_refused(service, tmp_path / "bad", fine, words)


@pytest.mark.parametrize("save", [save_peft, save_diffusers])
def test_a_dora_of_peft_and_of_diffusers_is_served(
    service: Served, dora: AdapterWeights, fine: Path, tmp_path: Path, save: Callable[[Path, AdapterWeights], object]
) -> None:
    save(tmp_path / "dora", dora)
    facts, reply = answer_for(service, tmp_path / "dora", fine)
    plain, scaled, other = (picture_of(image["image"]) for image in reply["images"])
    assert facts["state"] == "Loaded", facts["message"]
    assert not np.array_equal(scaled, plain)
    assert not np.array_equal(scaled, other)


def test_a_rank_above_the_highest_is_refused(base: Path, tmp_path: Path) -> None:
    wide = random_adapter(base, lora=LoRA(rank=128, alpha=128))
    save_peft(tmp_path / "wide", wide)
    with served(base) as service:
        service.configure(adapters=[{"name": "wide", "uri": str(tmp_path / "wide")}], defaults=DEFAULTS)
        assert "has rank 128; the highest that is served is 64" in service.keeper.facts["wide"].message
