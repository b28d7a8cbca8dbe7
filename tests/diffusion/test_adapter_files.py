import hashlib
import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import PeftConfig, PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych_api.artifact import BaseRecord
from diptych_api.errors import AdapterInvalid, UnsupportedHere
from diptych_api.training import LoRA
from diptych_diffusion.adapter_files import load_adapter, save_diffusers, save_kohya, save_peft
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.kohya import layer_name
from diptych_diffusion.lora import adapter_state, attach, inject, set_enabled, trainable
from diptych_diffusion.lora_layers import adaptable
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

BASE = BaseRecord(source="huggingFace:somebody/model", revision="0" * 40, digest="sha256:" + "ab" * 32)
EVERYWHERE = [
    *("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
    *("conv1", "conv2", "conv", "conv_in", "conv_out", "conv_shortcut", "time_emb_proj", "linear_1", "linear_2"),
]
PLAIN = LoRA(rank=8, alpha=16)
SETTINGS = {
    "alpha is twice the rank": PLAIN,
    "rsLoRA": LoRA(rank=8, alpha=16, use_rslora=True),
    "fractional alpha": LoRA(rank=4, alpha=2.5),
    "every layer": LoRA(rank=4, alpha=1, target_modules=EVERYWHERE),
    "DoRA": LoRA(rank=4, alpha=8, use_dora=True, target_modules=["to_q", "conv1"]),
}
SAVED = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(make_pipeline(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def base(pipeline: StableDiffusionPipeline) -> UNet2DConditionModel:
    return deepcopy(pipeline.unet).requires_grad_(requires_grad=False)


def adapted(base: UNet2DConditionModel, lora: LoRA) -> tuple[UNet2DConditionModel, AdapterWeights]:
    """Return a UNet with a random adapter, as training leaves it, and the adapter's weights."""
    unet = deepcopy(base)
    inject(unet, lora, seed=1)
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, parameter in trainable(unet):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
    return unet, AdapterWeights.of(adapter_state(unet), lora, BASE)


@torch.no_grad()
def output(unet: torch.nn.Module) -> Tensor:
    random = torch.Generator().manual_seed(3)
    sample, states = torch.randn((2, 4, 8, 8), generator=random), torch.randn((2, 5, 32), generator=random)
    result: Tensor = unet(sample, 400, states, return_dict=False)[0]
    return result


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def through_diffusers(pipeline: StableDiffusionPipeline, source: Path | dict[str, Tensor]) -> Tensor:
    """Return the output of an unmodified pipeline's UNet after load_lora_weights."""
    if isinstance(source, Path):
        pipeline.load_lora_weights(source.parent, weight_name=source.name)
    else:
        pipeline.load_lora_weights(source)
    result = output(pipeline.unet)
    pipeline.unload_lora_weights()
    return result


def write(form: str, folder: Path, weights: AdapterWeights) -> Path:
    """Save in one form and return the file with the tensors."""
    if form == "peft":
        return save_peft(folder, weights)[1]
    return save_diffusers(folder, weights) if form == "diffusers" else save_kohya(folder / "style.safetensors", weights)


@pytest.mark.parametrize(
    ("settings", "form"),
    [(name, form) for name in SETTINGS for form in ("peft", "diffusers", "kohya") if (name, form) != ("DoRA", "kohya")],
)
def test_every_form_gives_other_programs_and_us_the_same_output(
    pipeline: StableDiffusionPipeline, base: UNet2DConditionModel, tmp_path: Path, settings: str, form: str
) -> None:
    unet, weights = adapted(base, SETTINGS[settings])
    expected = output(unet)
    with set_enabled(unet, enabled=False):
        assert distance(output(unet), expected) > 0.01
    file = write(form, tmp_path / form, weights)
    if form == "peft":
        theirs = output(PeftModel.from_pretrained(deepcopy(base), tmp_path / form))
    else:
        theirs = through_diffusers(pipeline, file)
    assert distance(theirs, expected) <= 1e-5
    ours = deepcopy(base)
    attach(ours, load_adapter(file))
    assert distance(output(ours), expected) <= 1e-5
    for path in (file, file.parent):
        loaded = load_adapter(path)
        assert loaded.base == BASE
        assert set(loaded.target_modules) == set(weights.target_modules)


def test_a_peft_folder_converted_to_diffusers_goes_into_a_pipeline(
    pipeline: StableDiffusionPipeline, base: UNet2DConditionModel, tmp_path: Path
) -> None:
    unet, weights = adapted(base, PLAIN)
    save_peft(tmp_path / "peft", weights)
    converted = save_diffusers(tmp_path / "converted", load_adapter(tmp_path / "peft"))
    assert distance(through_diffusers(pipeline, converted), output(unet)) <= 1e-5


def test_peft_reads_the_settings_and_where_the_adapter_belongs(base: UNet2DConditionModel, tmp_path: Path) -> None:
    save_peft(tmp_path, adapted(base, SETTINGS["rsLoRA"])[1])
    config = PeftConfig.from_pretrained(str(tmp_path)).to_dict()
    assert (config["r"], config["lora_alpha"], config["use_rslora"], config["use_dora"]) == (8, 16, True, False)
    assert (config["base_model_name_or_path"], config["revision"]) == ("somebody/model", "0" * 40)
    assert set(config["target_modules"]) == {"to_q", "to_k", "to_v", "to_out.0"}


def test_trap_9_alpha_survives_the_diffusers_file_because_of_its_header(
    pipeline: StableDiffusionPipeline, base: UNet2DConditionModel, tmp_path: Path
) -> None:
    unet, weights = adapted(base, PLAIN)
    file = save_diffusers(tmp_path, weights)
    with safe_open(file, framework="pt") as opened:
        assert json.loads(opened.metadata()["lora_adapter_metadata"])["unet.lora_alpha"] == 16
    assert distance(through_diffusers(pipeline, file), output(unet)) <= 1e-5
    bare = load_file(file)
    assert distance(through_diffusers(pipeline, bare), output(unet)) > 0.01, "without the header the effect is halved"


def test_c19_a_peft_folder_that_diffusers_ignores_in_silence_is_read_or_refused_by_us(
    pipeline: StableDiffusionPipeline, base: UNet2DConditionModel, tmp_path: Path
) -> None:
    unet, weights = adapted(base, PLAIN)
    file = save_peft(tmp_path, weights)[1]
    with set_enabled(unet, enabled=False):
        ignored = output(unet)
    assert distance(through_diffusers(pipeline, file), ignored) == 0
    assert load_adapter(tmp_path).layers() == weights.layers()
    strange = {key.replace("attn1", "attn9"): value for key, value in load_file(file).items()}
    save_file(strange, file)
    with pytest.raises(AdapterInvalid, match="attn9"):
        attach(deepcopy(base), load_adapter(tmp_path))


def test_c21_a_file_of_40_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "adapter_model.safetensors"
    save_file({}, file, metadata={"format": "pt"})
    assert file.stat().st_size == 40
    with pytest.raises(AdapterInvalid, match=r"no tensors \(40 bytes\)"):
        load_adapter(tmp_path)


def test_the_same_weights_give_the_same_bytes(base: UNet2DConditionModel, tmp_path: Path) -> None:
    weights = adapted(base, PLAIN)[1]
    reordered = AdapterWeights.of({key: weights.state[key] for key in reversed(list(weights.state))}, PLAIN, BASE)
    for form in ("peft", "diffusers", "kohya"):
        files = [write(form, tmp_path / f"{form}{index}", each) for index, each in enumerate([weights, reordered] * 3)]
        assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == 1
        assert files[0].read_bytes()[:4] != bytes(4)
    configs = {(tmp_path / f"peft{index}" / "adapter_config.json").read_bytes() for index in range(6)}
    assert len(configs) == 1


def test_every_layer_of_a_unet_has_a_name_that_leads_back_from_kohya_s(base: UNet2DConditionModel) -> None:
    names = list(adaptable(deepcopy(base)))
    assert len(names) > 60
    assert [layer_name(name.replace(".", "_")) for name in names] == names


def test_a_kohya_file_whose_layers_differ_in_rank_and_alpha_adds_what_kohya_s_formula_says(
    base: UNet2DConditionModel, tmp_path: Path
) -> None:
    unet, weights = adapted(base, SETTINGS["every layer"])
    file = save_kohya(tmp_path / "style.safetensors", weights)
    tensors = load_file(file)
    ours, merged = deepcopy(base), deepcopy(base)
    for number, layer in enumerate(weights.layers()):
        name, rank, alpha = f"lora_unet_{layer.replace('.', '_')}", 1 + number % 4, 0.5 + number % 3
        down = tensors[f"{name}.lora_down.weight"][:rank].contiguous()
        up = tensors[f"{name}.lora_up.weight"][:, :rank].contiguous()
        tensors |= {
            f"{name}.lora_down.weight": down,
            f"{name}.lora_up.weight": up,
            f"{name}.alpha": torch.tensor(alpha),
        }
        if number == 0:
            del tensors[f"{name}.alpha"]
            alpha = rank
        weight = merged.get_submodule(layer).get_parameter("weight")
        weight.add_((alpha / rank * up.flatten(1) @ down.flatten(1)).view_as(weight))
    save_file(tensors, file)
    attach(ours, load_adapter(file))
    assert distance(output(ours), output(merged)) <= 1e-5
    assert distance(output(ours), output(unet)) > 0.01


def test_half_precision_files_are_read_as_fp32(base: UNet2DConditionModel, tmp_path: Path) -> None:
    file = save_kohya(tmp_path / "style.safetensors", adapted(base, PLAIN)[1])
    save_file({key: value.half() for key, value in load_file(file).items()}, file)
    loaded = load_adapter(file)
    assert {value.dtype for value in loaded.state.values()} == {torch.float32}
    assert (loaded.base, loaded.alpha) == (None, 16)
    assert list(loaded.target_modules) == loaded.layers()


def test_dora_is_not_written_to_a_kohya_file(base: UNet2DConditionModel, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedHere, match="DoRA"):
        save_kohya(tmp_path / "style.safetensors", adapted(base, SETTINGS["DoRA"])[1])


DOWN, UP = torch.ones(2, 64), torch.ones(64, 2)
PAIR = {f"{SAVED}.lora_down.weight": DOWN, f"{SAVED}.lora_up.weight": UP}


@pytest.mark.parametrize(
    ("tensors", "error", "said"),
    [
        pytest.param({**PAIR, f"{SAVED}.alpha": torch.tensor(torch.nan)}, AdapterInvalid, "alpha nan", id="nan alpha"),
        pytest.param({**PAIR, f"{SAVED}.lora_up.weight": UP * torch.inf}, AdapterInvalid, "not finite", id="inf"),
        pytest.param({**PAIR, f"{SAVED}.lora_up.weight": UP.int()}, AdapterInvalid, "torch.int32", id="integers"),
        pytest.param({f"{SAVED}.lora_down.weight": DOWN}, AdapterInvalid, "instead of", id="half a pair"),
        pytest.param({**PAIR, f"{SAVED}.lora_up.weight": UP[:, :1]}, AdapterInvalid, "rank 2", id="ranks of a pair"),
        pytest.param({**PAIR, f"{SAVED}.hada_w1_a": UP}, AdapterInvalid, "hada_w1_a", id="LoHa"),
        pytest.param({**PAIR, f"{SAVED}.dora_scale": UP}, UnsupportedHere, "DoRA", id="DoRA"),
        pytest.param({**PAIR, "lora_unet_input_blocks_1_1.alpha": UP}, AdapterInvalid, "input_blocks_1_1", id="SGM"),
        pytest.param({**PAIR, "lora_te_text_model_q.alpha": UP}, AdapterInvalid, "CLIP text encoder", id="no CLIP"),
        pytest.param({**PAIR, "unet.x.lora_A.weight": UP}, AdapterInvalid, "mixes forms", id="mixed"),
        pytest.param({"down.weight": UP}, AdapterInvalid, "down.weight", id="unknown"),
        pytest.param({"unet.x.to_q_lora.down.weight": UP}, AdapterInvalid, "to_q_lora", id="old diffusers"),
        pytest.param({"text_encoder.x.lora_A.weight": UP}, UnsupportedHere, "text_encoder.x", id="text encoder alone"),
        pytest.param({"lora_te_x.alpha": UP}, UnsupportedHere, "without a UNet", id="text encoder alone, kohya's"),
        pytest.param({**PAIR, "lora_te2_x.alpha": UP}, UnsupportedHere, "two text encoders", id="SDXL"),
    ],
)
def test_what_is_no_lora_of_a_unet_is_refused_with_a_reason(
    tmp_path: Path, tensors: dict[str, Tensor], error: type[Exception], said: str
) -> None:
    file = tmp_path / "style.safetensors"
    save_file({key: value.clone() for key, value in tensors.items()}, file)
    with pytest.raises(error, match=said):
        load_adapter(file)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"peft_type": "LOHA"}, AdapterInvalid, "peft_type"),
        ({"r": 4}, AdapterInvalid, "rank 4"),
        ({"lora_alpha": float("nan")}, AdapterInvalid, "lora_alpha"),
        ({"use_dora": True}, AdapterInvalid, "lora_magnitude_vector"),
        ({"alpha_pattern": {"to_q": 2}}, UnsupportedHere, "pattern"),
        ({"init_lora_weights": "pissa"}, UnsupportedHere, "pissa"),
    ],
)
def test_peft_settings_that_do_not_describe_the_weights_are_refused(
    base: UNet2DConditionModel, tmp_path: Path, change: dict[str, object], error: type[Exception], said: str
) -> None:
    config = save_peft(tmp_path, adapted(base, PLAIN)[1])[0]
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    with pytest.raises(error, match=said):
        load_adapter(tmp_path)


def test_pickles_and_unclear_folders_are_refused(tmp_path: Path) -> None:
    pickle = tmp_path / "adapter_model.bin"
    pickle.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(AdapterInvalid, match=r"only adapter_model\.bin"):
        load_adapter(tmp_path)
    with pytest.raises(AdapterInvalid, match=r"not a \.safetensors"):
        load_adapter(pickle)
    with pytest.raises(AdapterInvalid, match="neither"):
        load_adapter(tmp_path / "absent")
    pickle.rename(tmp_path / "one.safetensors")
    with pytest.raises(AdapterInvalid, match="safetensors"):
        load_adapter(tmp_path)
    save_file(PAIR, tmp_path / "two.safetensors")
    with pytest.raises(AdapterInvalid, match="several"):
        load_adapter(tmp_path)


def test_a_bare_peft_file_without_its_settings_is_refused(base: UNet2DConditionModel, tmp_path: Path) -> None:
    config, file = save_peft(tmp_path, adapted(base, PLAIN)[1])
    config.unlink()
    with pytest.raises(AdapterInvalid, match="alpha is unknown"):
        load_adapter(file)
