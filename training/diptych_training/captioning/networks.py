"""Captions by networks in folders of this machine: BLIP, Florence-2, Qwen2-VL, as transformers keeps them.

Weights are safetensors only, and no code of the folder is run. On a GPU they are bfloat16, on a CPU float32.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import PIL.Image
import torch

from diptych_api.dataset import Captioning
from diptych_api.errors import BaseInvalid, GpuOutOfMemory, HostOutOfMemory, SpecInvalid
from diptych_diffusion.base_files import check_config
from diptych_diffusion.fingerprint import folder_digest
from diptych_diffusion.model_files import load_model
from diptych_training.captioning.provider import INSTRUCTION, Captions, Shown, Silence, TooLarge
from diptych_training.out_of_memory import memory_named
from diptych_training.vision.folder import NetworkFolder

LONGEST: Final = 300
"""Letters of what a network says of a picture that it does not take."""
FIELD: Final = "spec.dataset.captioning.model"
KINDS: Final = {"BLIP": "blip", "Florence2": "florence2", "Qwen2VL": "qwen2_vl"}
BEAMS: Final = 3
TASK: Final = "<DETAILED_CAPTION>"
CONVERSATION: Final = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<|vision_start|>{image}<|vision_end|>{prompt}<|im_end|>\n<|im_start|>assistant\n"
)
"""What Qwen2-VL was trained on."""
Write = Callable[[list[PIL.Image.Image], str | None, int], list[str]]
"""Captions of pictures, by an instruction, of at most so many tokens."""


@dataclass(frozen=True, slots=True)
class Network:
    """Writes captions by a network in whatever process it is called; a process loads it once."""

    provider: str
    folder: str
    prompt: str | None
    max_new_tokens: int
    digest: str

    @classmethod
    def of(cls, settings: Captioning) -> Self:
        """Return the network that the settings name. Raises SpecInvalid."""
        opened = NetworkFolder.open(settings.model or "", FIELD)
        kind = KINDS[settings.provider]
        if opened.kind != kind:
            raise opened.refused(kind)
        folder = opened.path
        return cls(settings.provider, str(folder), settings.prompt, settings.max_new_tokens, folder_digest(folder))

    @property
    def identity(self) -> str:
        """What captions depend on beside the picture."""
        told = (self.provider, self.digest, self.prompt, self.max_new_tokens)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def __call__(self, pictures: Sequence[Shown]) -> Captions:
        """Return a caption of each picture.

        Raises:
            SpecInvalid: when the network's folder cannot be used.
            TooLarge: when the batch does not fit the device, or when one of its pictures cannot be described.

        """
        write = _loaded(self.provider, self.folder)
        try:
            with torch.inference_mode(), memory_named("writing captions", "Lower imageSize."):
                return list(write([shown.picture() for shown in pictures], self.prompt, self.max_new_tokens))
        except (GpuOutOfMemory, HostOutOfMemory) as error:
            torch.cuda.empty_cache()
            raise TooLarge from error
        except (ValueError, RuntimeError, IndexError) as error:  # of one picture, such as a shape that it does not take
            if len(pictures) > 1:
                raise TooLarge from error
            return [Silence(f"the network cannot describe it: {error}"[:LONGEST])]


@lru_cache(maxsize=1)
def _loaded(provider: str, folder: str) -> Write:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    load = {"BLIP": _blip, "Florence2": _florence2, "Qwen2VL": _qwen2_vl}[provider]
    try:
        return load(Path(folder), device)
    except BaseInvalid as error:
        raise SpecInvalid(f"{FIELD}: {error.message}", hint=error.hint) from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SpecInvalid(f"{FIELD}: {folder} cannot be used: {error}"[:500]) from error


def _blip(folder: Path, device: torch.device) -> Write:
    """Return BLIP (Li et al. 2022, arXiv 2201.12086): its caption goes on from the instruction, where there is one."""
    from transformers import BlipForConditionalGeneration  # noqa: PLC0415 -- transformers takes seconds
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil  # noqa: PLC0415

    model, tokenizer = _model(folder, BlipForConditionalGeneration, device), _tokenizer(folder)
    see = BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)

    def write(pictures: list[PIL.Image.Image], prompt: str | None, limit: int) -> list[str]:
        inputs = {"pixel_values": see(images=pictures, return_tensors="pt").pixel_values.to(device, model.dtype)}
        if prompt:
            told = tokenizer([prompt] * len(pictures), return_tensors="pt").to(device)
            inputs |= {"input_ids": told.input_ids, "attention_mask": told.attention_mask}
        return _words(tokenizer, model.generate(**inputs, max_new_tokens=limit, do_sample=False, num_beams=1))

    return write


def _florence2(folder: Path, device: torch.device) -> Write:
    """Return Florence-2 (Xiao et al. 2023, arXiv 2311.06242), by three beams; the instruction is one of its tasks."""
    from transformers import CLIPImageProcessorPil, Florence2ForConditionalGeneration, Florence2Processor  # noqa: PLC0415

    model = _model(folder, Florence2ForConditionalGeneration, device)
    see = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    ask = Florence2Processor(see, _tokenizer(folder))

    def write(pictures: list[PIL.Image.Image], prompt: str | None, limit: int) -> list[str]:
        inputs = ask(images=pictures, text=[prompt or TASK] * len(pictures), return_tensors="pt", padding=True)
        inputs = inputs.to(device, model.dtype)
        found = model.generate(**inputs, max_new_tokens=limit, do_sample=False, num_beams=BEAMS)
        return _words(ask.tokenizer, found)

    return write


def _qwen2_vl(folder: Path, device: torch.device) -> Write:
    """Return Qwen2-VL (Wang et al. 2024, arXiv 2409.12191), greedy; in four bits where bitsandbytes and a GPU are."""
    from transformers import Qwen2VLForConditionalGeneration  # noqa: PLC0415
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil  # noqa: PLC0415

    in_four_bits = device.type == "cuda" and find_spec("bitsandbytes") is not None
    model = (_in_four_bits if in_four_bits else _model)(folder, Qwen2VLForConditionalGeneration, device)
    see, tokenizer = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True), _tokenizer(folder)
    image_id = model.config.image_token_id
    image = str(tokenizer.convert_ids_to_tokens(image_id))

    def write(pictures: list[PIL.Image.Image], prompt: str | None, limit: int) -> list[str]:
        seen = see(images=pictures, return_tensors="pt")
        counts = (seen.image_grid_thw.prod(1) // see.merge_size**2).tolist()
        said = [CONVERSATION.format(image=image * count, prompt=prompt or INSTRUCTION) for count in counts]
        told = tokenizer(said, padding=True, padding_side="left", return_tensors="pt")
        inputs = {
            "input_ids": told.input_ids,
            "attention_mask": told.attention_mask,
            "mm_token_type_ids": (told.input_ids == image_id).int(),
            "pixel_values": seen.pixel_values.to(model.dtype),
            "image_grid_thw": seen.image_grid_thw,
        }
        here = {name: tensor.to(device) for name, tensor in inputs.items()}
        found = model.generate(**here, max_new_tokens=limit, do_sample=False, num_beams=1)
        return _words(tokenizer, found[:, told.input_ids.shape[1] :])

    return write


def _model(folder: Path, kind: Any, device: torch.device) -> Any:  # noqa: ANN401 -- classes of transformers
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return load_model(folder, kind, dtype)[0].to(device).eval()


def _in_four_bits(folder: Path, kind: Any, device: torch.device) -> Any:  # noqa: ANN401 -- the same
    """Return the model in NF4 with its constants quantised too (Dettmers et al. 2023, arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig  # noqa: PLC0415

    check_config(folder / "config.json")
    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return kind.from_pretrained(
        folder,
        quantization_config=how,
        dtype=torch.bfloat16,
        device_map={"": device},
        use_safetensors=True,
        local_files_only=True,
    ).eval()


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401 -- the same
    from transformers import AutoTokenizer  # noqa: PLC0415

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _words(tokenizer: Any, found: torch.Tensor) -> list[str]:  # noqa: ANN401 -- the same
    return list(tokenizer.batch_decode(found, skip_special_tokens=True))
