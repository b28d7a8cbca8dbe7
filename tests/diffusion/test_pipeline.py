import json
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from diptych_api.errors import BaseInvalid, DiptychError, UnsupportedHere
from diptych_api.sources import Base, Claim, HuggingFaceModel
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.fetch import wanted_files
from diptych_diffusion.pipeline import load
from diptych_diffusion.prompts import encode
from support.hub import COMMIT
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("made") / "base")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may break."""
    return Path(shutil.copytree(made, tmp_path / "base"))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(path)), path, {"format": "pt"})


def test_the_same_arguments_make_the_same_tiny_base(made: Path, tmp_path: Path) -> None:
    assert load(make_pipeline(tmp_path)).digest == load(made).digest
    assert load(make_pipeline(tmp_path, seed=1)).digest != load(made).digest


def test_parts_are_those_that_diffusers_loads_frozen_and_evaluating(made: Path) -> None:
    components = load(made)
    pipeline = StableDiffusionPipeline.from_pretrained(made, local_files_only=True, use_safetensors=True)
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(components, part), getattr(pipeline, part).state_dict()
        assert not ours.training
        assert not any(parameter.requires_grad for parameter in ours.parameters())
        assert ours.state_dict().keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.state_dict().items())
    assert (components.max_tokens, components.embedding_dim, components.latent_channels) == (16, 32, 4)
    assert (components.pixels_per_latent, components.picture_size) == (8, (64, 64))
    assert components.scheduler_config["clip_sample"] is False


def test_scaling_follows_the_vae_config_and_back(folder: Path) -> None:
    edit_json(folder / "vae" / "config.json", scaling_factor=0.5, shift_factor=3.0)
    components = load(folder, need_unet=False)
    latents = torch.tensor([[5.0]])
    assert components.scale_latents(latents).item() == 1.0
    assert components.unscale_latents(components.scale_latents(latents)).item() == 5.0


def test_stored_half_precision_loads_as_the_asked_dtype_and_full_precision_is_preferred(folder: Path) -> None:
    full = load(folder)
    for path in (folder / UNET, folder / TEXT):
        half = {name: tensor.half() for name, tensor in load_file(path).items()}
        save_file(half, path.with_suffix(".fp16.safetensors"), {"format": "pt"})
    assert load(folder).digest == full.digest
    for path in (folder / UNET, folder / TEXT):
        path.unlink()
    halved = load(folder)
    assert {parameter.dtype for parameter in halved.denoiser.parameters()} == {torch.float32}
    assert torch.equal(halved.denoiser.conv_in.weight, full.denoiser.conv_in.weight.half().float())
    assert halved.digest != full.digest


def test_the_digest_names_what_is_stored_not_how_it_is_loaded(folder: Path) -> None:
    full, rough = load(folder), load(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in rough.text_encoder.parameters()} == {torch.bfloat16}
    assert rough.digest == full.digest
    edit_tensors(folder / UNET, lambda tensors: {**tensors, "conv_out.bias": tensors["conv_out.bias"] + 1e-3})
    changed = load(folder)
    assert changed.digest != full.digest
    assert changed.digests["vae"] == full.digests["vae"]


def test_shards_load_as_one_file_does(folder: Path) -> None:
    whole = load(folder)
    for part in ("unet", "text_encoder"):
        getattr(whole, part).save_pretrained(folder / part, max_shard_size="50KB")
        for single in (folder / UNET, folder / TEXT):
            if single.parent.name == part:
                single.unlink(missing_ok=True)
    sharded = load(folder)
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    assert sharded.digest == whole.digest
    assert torch.equal(sharded.denoiser.conv_in.weight, whole.denoiser.conv_in.weight)


def test_folders_of_older_libraries_load(folder: Path) -> None:
    """Stable Diffusion 1.x: text_model prefix, a buffer of positions, vocab.json and merges.txt, no tokenizer.json."""
    with torch.no_grad():
        expected = encode(load(folder), ["a red ap"])
        positions = {"text_model.embeddings.position_ids": torch.arange(16)[None]}
        edit_tensors(folder / TEXT, lambda old: {f"text_model.{name}": old[name] for name in old} | positions)
        (folder / "tokenizer" / "tokenizer.json").unlink()
        assert torch.equal(encode(load(folder), ["a red ap"]), expected)


def test_a_folder_without_a_unet_loads_when_none_is_needed(folder: Path) -> None:
    shutil.rmtree(folder / "unet")
    edit_json(folder / "model_index.json", unet=[None, None])
    components = load(folder, need_unet=False)
    assert components.unet is None
    assert components.picture_size == (64, 64)
    with pytest.raises(BaseInvalid, match="has no unet"):
        _ = components.denoiser
    with pytest.raises(BaseInvalid, match="as unet"):
        load(folder)


def overwrite(name: str, **changes: object) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, **changes)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def drop_tensor(folder: Path) -> None:
    edit_tensors(folder / UNET, lambda tensors: {name: tensors[name] for name in tensors if name != "conv_in.bias"})


def grow_tensors(folder: Path) -> None:
    edit_tensors(folder / TEXT, lambda tensors: {name: torch.cat([tensors[name]] * 2) for name in tensors})


def forget_merges(folder: Path) -> None:
    remove("tokenizer/tokenizer.json")(folder)
    remove("tokenizer/merges.txt")(folder)


def take_another_vae(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    shutil.copytree(make_pipeline(folder.parent / "other", latent_channels=8) / "vae", folder / "vae")


def put(name: str, content: bytes = b"") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return write


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "no-index": (remove("model_index.json"), r"model_index\.json cannot be read: No such file"),
    "flux": (overwrite("model_index.json", _class_name="FluxPipeline"), "'FluxPipeline'"),
    "own-class": (overwrite("model_index.json", unet=["evil", "UNet2DConditionModel"]), r"evil\.UNet2DConditionModel"),
    "no-vae": (overwrite("model_index.json", vae=None), "None as vae"),
    "flow": (overwrite("model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]), "FlowMatch"),
    "no-weights": (remove(UNET), r"unet has no diffusion_pytorch_model\.safetensors"),
    "no-config": (remove("vae/config.json"), r"vae/config\.json cannot be read"),
    "no-schedule": (remove("scheduler/scheduler_config.json"), r"scheduler_config\.json cannot be read"),
    "pickle-beside": (put("unet/weights.bin"), "can run code"),
    "pickle-in-disguise": (put(UNET, b"\x80\x04pickle"), "not a safetensors file"),
    "two-forms": (put("unet/diffusion_pytorch_model.safetensors.index.json", b"{}"), "holds both"),
    "tensor-missing": (drop_tensor, r"1 missing keys, such as conv_in\.bias"),
    "tensors-too-big": (grow_tensors, "text_encoder cannot be loaded"),
    "config-of-nonsense": (overwrite("text_encoder/config.json", hidden_size="x"), "text_encoder cannot be loaded"),
    "unet-of-nonsense": (overwrite("unet/config.json", block_out_channels=[32, "x"]), "unet cannot be loaded"),
    "remote-model-code": (overwrite("text_encoder/config.json", auto_map={"AutoModel": "evil.M"}), "auto_map"),
    "remote-kernel": (overwrite("text_encoder/config.json", attn_implementation="someone/k"), "attn_implementation"),
    "quantised": (overwrite("unet/config.json", quantization_config={"quant_method": "gguf"}), "quantization_config"),
    "remote-tokenizer": (overwrite("tokenizer/tokenizer_config.json", auto_map={"AutoTokenizer": "evil"}), "auto_map"),
    "adapter": (put("text_encoder/adapter_config.json", b"{}"), "is an adapter"),
    "no-merges": (forget_merges, "tokenizer cannot be loaded"),
    "other-vae": (take_another_vae, "in_channels and vae latent_channels: 4, not 8"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_folder_that_cannot_be_trusted_or_used_is_refused_by_name(folder: Path, what: str) -> None:
    spoil, message = SPOILT[what]
    spoil(folder)
    with pytest.raises(BaseInvalid, match=message):
        load(folder)


def test_local_folders_are_used_where_they_are(made: Path, tmp_path: Path) -> None:
    assert resolve_base(Base(uri=str(made)), tmp_path) == made
    assert resolve_base(Base(uri=f"file://{made}"), tmp_path) == made
    assert not list(tmp_path.iterdir())


def test_a_folder_in_a_store_is_copied_once_and_again_when_it_changes(made: Path, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    store.put(str(made), "/bucket/base", recursive=True)
    store.pipe("/bucket/base/unet/weights.ckpt", b"pickle")
    base = Base(uri="memory://bucket/base")
    copy = resolve_base(base, tmp_path)
    assert load(copy).digest == load(made).digest
    assert not list(copy.rglob("*.ckpt"))
    assert resolve_base(base, tmp_path) == copy
    store.pipe("/bucket/base/unet/note.txt", b"changed")
    assert resolve_base(base, tmp_path) != copy
    assert len(list((tmp_path / "store").iterdir())) == 2


@pytest.mark.parametrize(
    ("base", "error"),
    [
        (Base(uri="/no/such/folder"), BaseInvalid),
        (Base(uri="memory://empty/base"), BaseInvalid),
        (Base(uri="https://example.org/base.safetensors", sha256="0" * 64), BaseInvalid),
        (Base(uri="hf://owner/name"), UnsupportedHere),
        (Base(uri="nosuchstore://bucket/base"), UnsupportedHere),
        (Base(pvc=Claim(claim_name="models")), UnsupportedHere),
        (Base(hugging_face=HuggingFaceModel(repo="../up", revision=COMMIT)), BaseInvalid),
    ],
)
def test_bases_that_cannot_be_had_say_so(base: Base, error: type[DiptychError], tmp_path: Path) -> None:
    with pytest.raises(error) as caught:
        resolve_base(base, tmp_path)
    assert caught.value.hint


def test_of_a_repository_only_what_a_pipeline_needs_is_wanted() -> None:
    repository = [
        "model_index.json",
        "v1-5-pruned.safetensors",
        "v1-5-pruned.ckpt",
        "handler.py",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "tokenizer/merges.txt",
        "safety_checker/model.safetensors",
        "unet/../../etc/passwd.json",
        "unet/deep/er.json",
    ]
    assert wanted_files(repository) == [
        "model_index.json",
        "tokenizer/merges.txt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ]
