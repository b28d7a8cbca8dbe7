"""LoRA of UNet and text encoder together: learned exactly, written in every form, read by others as we read it."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import PeftModel
from torch import Tensor, nn

from diptych_api.errors import ArtifactInvalid, SpecInvalid
from diptych_cli.drawing_model import find_model
from diptych_diffusion.adapter_check import check_saved
from diptych_diffusion.adapter_files import load_adapter, save_peft
from diptych_diffusion.lora import attach_all
from diptych_diffusion.pipeline import load
from diptych_diffusion.prompts import encode, tokenize
from diptych_training.artifact import verify_artifact
from diptych_training.building import build_loop
from diptych_training.share import Share
from support.bare_runs import CPU, Listener, finish, same_weights, train
from support.tiny_jobs import merged, tiny_share

pytestmark = pytest.mark.slow

SETTINGS = {"lora": {"rank": 2, "alpha": 4, "textEncoderRank": 3, "dropout": 0.1}}
FORMS = ("peft", "diffusers/pytorch_lora_weights.safetensors", "kohya/tiny.safetensors")


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Share:
    return tiny_share(tmp_path_factory.mktemp("run"), **SETTINGS)


@pytest.fixture(scope="module")
def whole(share: Share) -> Listener:
    listener = Listener()
    train(share, listener)
    return listener


@pytest.fixture(scope="module")
def artifact(share: Share, whole: Listener) -> Path:
    assert whole.losses()
    return finish(share)[0] / "artifact"


@torch.no_grad()
def seen(text_encoder: nn.Module, unet: nn.Module, ids: Tensor) -> Tensor:
    """Return what the UNet predicts for a prompt that the text encoder reads."""
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    result: Tensor = unet(latents, 400, text_encoder(ids)[0], return_dict=False)[0]
    return result


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm())


def test_a_stop_and_a_resume_learn_what_an_undisturbed_run_learns(
    share: Share, whole: Listener, tmp_path: Path
) -> None:
    part, rest = Listener(stop_at=3), Listener()
    other = tiny_share(tmp_path, **SETTINGS)
    train(other, part)
    resumed = train(other, rest, go_on=True)
    assert part.losses() | rest.losses() == whole.losses()
    assert part.validations() | rest.validations() == whole.validations()
    assert same_weights(train(share, Listener(), go_on=True), resumed)
    fresh = build_loop(other, CPU, Listener()).trainee.parameters
    moved = {n.partition(".")[0] for n, p in resumed.trainee.parameters.items() if not torch.equal(p, fresh[n])}
    assert moved == {"unet", "text_encoder"}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
def test_other_programs_see_in_every_form_what_we_see(share: Share, artifact: Path) -> None:
    """Within 1e-5; the base's own prediction and that of the UNet's part alone are far from it."""
    ours, base = load(share.base_folder), load(share.base_folder)
    ids = tokenize(ours, ["red thing"])
    weights = load_adapter(artifact / "peft")
    attach_all(ours.denoiser, ours.text_encoder, weights)
    wanted = seen(ours.text_encoder, ours.denoiser, ids)
    assert distance(seen(base.text_encoder, base.denoiser, ids), wanted) > 1e-3
    assert distance(seen(base.text_encoder, ours.denoiser, ids), wanted) > 1e-3
    for form in FORMS[1:]:
        pipeline = StableDiffusionPipeline.from_pretrained(share.base_folder)
        pipeline.load_lora_weights((artifact / form).parent, weight_name=Path(form).name)
        assert distance(seen(pipeline.text_encoder, pipeline.unet, ids), wanted) <= 1e-5
    unet = PeftModel.from_pretrained(deepcopy(base.denoiser), artifact / "peft")
    text = PeftModel.from_pretrained(deepcopy(base.text_encoder), artifact / "peft" / "text_encoder")
    assert distance(seen(text, unet, ids), wanted) <= 1e-5


def test_every_form_is_read_alike_and_the_record_tells_the_rank(share: Share, artifact: Path) -> None:
    base = load(share.base_folder)
    digest = f"sha256:{base.digest}"
    evidence = [check_saved(artifact / form, base.denoiser, digest, base.text_encoder) for form in FORMS]
    assert evidence[0].effect == pytest.approx(evidence[1].effect, rel=1e-5) == pytest.approx(evidence[2].effect)
    assert len({round(each.text_effect or 0, 6) for each in evidence}) == 1
    assert evidence[0].text_effect
    assert verify_artifact(artifact).text_encoder_rank == 3
    with pytest.raises(ArtifactInvalid, match="text encoder"):
        check_saved(artifact / "peft", base.denoiser, digest)


def test_diptych_generate_reads_prompts_with_the_adapter(share: Share, artifact: Path) -> None:
    model = find_model(None, artifact / "peft", str(share.base_folder), "cpu")
    base = load(share.base_folder)
    assert distance(encode(base, ["red thing"]), encode(model.components, ["red thing"])) > 1e-4


def test_a_job_goes_on_from_both_parts(share: Share, artifact: Path) -> None:
    """It starts where the other ended, also with more rank; a job without place for the text part is refused."""
    first = {"lora": {"initFrom": str(artifact / "peft")}}
    wider = merged(merged(SETTINGS, first), {"lora": {"textEncoderRank": 5, "rank": 4, "alpha": 4}})
    root = share.base_folder.parent
    trainee = build_loop(tiny_share(root, **wider), CPU, Listener()).trainee
    trainee.train(on=False)
    ours = load(share.base_folder)
    attach_all(ours.denoiser, ours.text_encoder, load_adapter(artifact / "peft"))
    ids = tokenize(ours, ["red thing"])
    assert trainee.text_encoder is not None
    begun = seen(trainee.text_encoder, trainee.unet, ids)
    assert distance(begun, seen(ours.text_encoder, ours.denoiser, ids)) <= 1e-5
    narrow = {"lora": {"initFrom": str(artifact / "peft")}}
    with pytest.raises(SpecInvalid, match="changes the text encoder") as refused:
        build_loop(tiny_share(root, **narrow), CPU, Listener())
    assert "textEncoderRank: 3" in str(refused.value)


def test_a_part_for_the_text_encoder_that_does_not_fit_is_named(share: Share, artifact: Path, tmp_path: Path) -> None:
    base, weights = load(share.base_folder), load_adapter(artifact / "peft")
    assert weights.text_encoder is not None
    other = {key.replace("layers.0", "layers.9"): t for key, t in weights.text_encoder.state.items()}
    save_peft(tmp_path, replace(weights, text_encoder=replace(weights.text_encoder, state=other)))
    with pytest.raises(ArtifactInvalid, match="which this text encoder does not have"):
        check_saved(tmp_path, base.denoiser, f"sha256:{base.digest}", base.text_encoder)
