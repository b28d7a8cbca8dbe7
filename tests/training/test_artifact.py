import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from diptych_api.after import Export
from diptych_api.artifact import ArtifactFormat, ArtifactRecord, files_digest
from diptych_api.errors import ArtifactInvalid
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.report import ArtifactRef
from diptych_api.sources import Base, HuggingFaceModel, Output
from diptych_api.training import LoRA
from diptych_diffusion import lora, onnx_libraries, onnx_parity
from diptych_diffusion.adapter_files import load_adapter
from diptych_diffusion.adapter_weights import AdapterWeights
from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_training.artifact import (
    base_record,
    lora_formats,
    pipeline_formats,
    skipped,
    verify_artifact,
    write_lora_artifact,
    write_pipeline_artifact,
)
from diptych_training.equipment import lacking
from diptych_training.run_store import RunStore
from diptych_training.supported import refused
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

SETTINGS = LoRA(rank=2, alpha=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("base"), prediction_type="v_prediction", zero_terminal_snr=True)


@pytest.fixture
def base(folder: Path) -> Components:
    return load(folder)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.open(Output(uri=str(tmp_path)), "local", "noto-12345678", tmp_path)


def learned(base: Components, settings: LoRA = SETTINGS, size: float = 0.05) -> AdapterWeights:
    """Return an adapter whose B is not zero, as after some steps; the base stays without adapter."""
    unet = load(base.folder).denoiser
    lora.inject(unet, settings, seed=1)
    random = torch.Generator().manual_seed(2)
    state = {key: w + size * torch.randn(w.shape, generator=random) for key, w in lora.adapter_state(unet).items()}
    return AdapterWeights.of(state, settings, base_record(Base(builtin="tiny-emoji"), base))


def draft(base: Components, weights: AdapterWeights | None = None) -> ArtifactRecord:
    return ArtifactRecord(
        name="noto",
        run="noto-12345678",
        method="LoRA" if weights else "FromScratch",
        base=base_record(Base(builtin="tiny-emoji"), base),
        rank=weights.rank if weights else None,
        alpha=weights.alpha if weights else None,
        trainable_parameters=sum(w.numel() for w in weights.state.values()) if weights else 17,
        step=30,
        validation_loss=0.1,
        first_validation_loss=0.2,
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )


def write(store: RunStore, base: Components, weights: AdapterWeights) -> ArtifactRef:
    return write_lora_artifact(store, base, weights, draft(base, weights), ["PEFT", "Diffusers", "Kohya"])


def probe() -> tuple[torch.Tensor, torch.Tensor]:
    """Return latents and embeddings to ask a UNet with."""
    random = torch.Generator().manual_seed(3)
    return torch.randn((1, 4, 8, 8), generator=random), torch.randn((1, 16, 32), generator=random)


@torch.no_grad()
def output(unet: UNet2DConditionModel) -> torch.Tensor:
    latents, text = probe()
    predicted: torch.Tensor = unet(latents, 400, text, return_dict=False)[0]
    return predicted


def graph_output(artifact: Path) -> torch.Tensor:
    """Return the same of an artifact's graph."""
    graph = onnxruntime.InferenceSession(artifact / "onnx/unet/model.onnx", providers=["CPUExecutionProvider"])
    latents, text = (tensor.numpy() for tensor in probe())
    feed = {"sample": latents, "timestep": np.array([400], np.float32), "encoder_hidden_states": text}
    return torch.from_numpy(graph.run(None, feed)[0])


def test_trap_10_all_three_forms_load_into_an_unmodified_pipeline_with_the_same_output(
    store: RunStore, base: Components
) -> None:
    weights = learned(base)
    lora.attach(base.denoiser, weights)
    expected = output(base.denoiser)
    write(store, load(base.folder), weights)
    artifact = store.get_folder("artifact")
    for file in ("diffusers/pytorch_lora_weights.safetensors", "kohya/noto.safetensors"):
        pipeline = StableDiffusionPipeline.from_pretrained(base.folder)
        pipeline.load_lora_weights(artifact / file)
        torch.testing.assert_close(output(pipeline.unet), expected, rtol=1e-5, atol=1e-5)
    unet = load(base.folder).denoiser
    lora.attach(unet, load_adapter(artifact / "peft"))
    torch.testing.assert_close(output(unet), expected, rtol=1e-5, atol=1e-5)
    assert (expected - output(load(base.folder).denoiser)).abs().max() > 1e-3


def test_the_record_names_base_shape_losses_and_every_file(store: RunStore, base: Components) -> None:
    weights = learned(base)
    reference = write(store, base, weights)
    record = verify_artifact(store.get_folder("artifact"))
    assert set(record.files) == {
        "peft/adapter_config.json",
        "peft/adapter_model.safetensors",
        "diffusers/pytorch_lora_weights.safetensors",
        "kohya/noto.safetensors",
    }
    assert (record.rank, record.alpha, record.step, record.formats) == (2, 6, 30, ["PEFT", "Diffusers", "Kohya"])
    assert (record.first_validation_loss, record.validation_loss) == (0.2, 0.1)
    assert record.base.digest == f"sha256:{base.digest}"
    assert reference.uri == store.uri("artifact")
    assert reference.size_bytes == sum(file.bytes for file in record.files.values())
    assert reference.trainable_parameters == record.trainable_parameters > 0
    assert write(store, base, weights) == reference, "the same weights give the same digest"


@pytest.mark.timeout(900)  # graphs take minutes to make on a busy machine
def test_an_adapter_is_merged_and_made_a_graph_beside_its_own_forms(store: RunStore, base: Components) -> None:
    weights = learned(base)
    lora.attach(base.denoiser, weights)
    expected = output(base.denoiser)
    formats: list[ArtifactFormat] = ["PEFT", "Merged", "ONNX"]
    write_lora_artifact(store, load(base.folder), weights, draft(base, weights), formats)
    artifact = store.get_folder("artifact")
    assert verify_artifact(artifact).formats == formats
    assert load_adapter(artifact / "peft").state.keys() == weights.state.keys()
    merged = StableDiffusionPipeline.from_pretrained(artifact / "merged")
    assert not any("lora" in name for name in merged.unet.state_dict())
    torch.testing.assert_close(output(merged.unet), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(graph_output(artifact), expected, rtol=0, atol=2e-5)
    told = json.loads((artifact / "onnx/parity.json").read_text())
    assert (told["base"], told["base_digest"]) == ("builtin:tiny-emoji", f"sha256:{base.digest}")


def test_a_bad_adapter_is_never_published_and_the_older_artifact_stays(store: RunStore, base: Components) -> None:
    good = learned(base)
    before = write(store, base, good)
    key = next(iter(good.state))
    stranger = base_record(Base(builtin="tiny-emoji"), replace(base, digests={}))
    bad = {
        "no effect": replace(good, state={k: w * ("lora_A" in k) for k, w in good.state.items()}),
        key: replace(good, state={**good.state, key: good.state[key] * torch.nan}),
        stranger.digest: replace(good, base=stranger),
        "no tensors": replace(good, state={}),
    }
    for words, weights in bad.items():
        with pytest.raises(ArtifactInvalid) as caught:
            write(store, base, weights)
        assert words in caught.value.message
    kept = verify_artifact(store.get_folder("artifact"))
    assert files_digest(kept.files) == before.digest


@pytest.mark.parametrize("damage", ["changed", "missing", "stranger", "record"])
def test_verification_names_the_file_that_is_wrong(damage: str, store: RunStore, base: Components) -> None:
    write(store, base, learned(base))
    folder = store.get_folder("artifact")
    path = {"stranger": folder / "more.bin", "record": folder / "artifact.json"}.get(
        damage, folder / "kohya" / "noto.safetensors"
    )
    if damage == "missing":
        path.unlink()
    else:
        data = path.read_bytes() if path.exists() else b"x"
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ArtifactInvalid) as caught:
        verify_artifact(folder)
    assert str(path) in caught.value.message


def test_an_artifact_whose_publication_was_cut_off_is_not_complete(store: RunStore, base: Components) -> None:
    write(store, base, learned(base))
    store.remove("artifact/artifact.json")
    with pytest.raises(ArtifactInvalid, match=r"artifact\.json is missing"):
        verify_artifact(store.get_folder("artifact"))


def test_a_trained_pipeline_is_read_by_unmodified_diffusers_and_draws_the_same_picture(
    store: RunStore, base: Components
) -> None:
    with torch.no_grad():
        for parameter in base.denoiser.parameters():
            parameter.add_(0.01)
    tuned = replace(base, scheduler_config={**base.scheduler_config, "clip_sample": True})
    write_pipeline_artifact(store, tuned, draft(base))
    folder = store.get_folder("artifact") / "pipeline"
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    torch.testing.assert_close(output(pipeline.unet), output(base.denoiser), rtol=0, atol=0)
    picture = pipeline("a cat", num_inference_steps=2, generator=torch.Generator().manual_seed(5), output_type="np")
    again = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    again.set_progress_bar_config(disable=True)
    same = again("a cat", num_inference_steps=2, generator=torch.Generator().manual_seed(5), output_type="np")
    np.testing.assert_array_equal(picture.images, same.images)
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["clip_sample"] is False
    assert scheduler["prediction_type"] == "v_prediction"
    assert verify_artifact(folder.parent).formats == ["Pipeline"]


def test_a_form_that_cannot_be_made_costs_no_other(
    store: RunStore, base: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_parity, "BOUND", 0.0)
    weights, formats = learned(base), list[ArtifactFormat](["PEFT", "Merged", "ONNX"])
    write_lora_artifact(store, load(base.folder), weights, draft(base, weights), formats)
    artifact = store.get_folder("artifact")
    record = verify_artifact(artifact)
    assert record.formats == ["PEFT", "Merged"]
    assert record.skipped["ONNX"].startswith("text_encoder: ONNX Runtime and PyTorch differ by")
    assert not (artifact / "onnx").exists()


@pytest.mark.timeout(900)  # graphs take minutes to make on a busy machine
def test_a_whole_model_is_made_a_graph_where_the_job_asks(store: RunStore, base: Components) -> None:
    write_pipeline_artifact(store, base, draft(base), pipeline_formats(Export(formats=["PEFT", "ONNX"])))
    artifact = store.get_folder("artifact")
    assert verify_artifact(artifact).formats == ["Pipeline", "ONNX"]
    torch.testing.assert_close(graph_output(artifact), output(base.denoiser), rtol=0, atol=2e-5)


def test_a_pipeline_folder_serves_readers_of_both_tokenizer_forms_and_holds_no_pickle(
    store: RunStore, base: Components
) -> None:
    write_pipeline_artifact(store, base, draft(base))
    folder = store.get_folder("artifact") / "pipeline"
    given = base.folder / "tokenizer"
    assert json.loads((folder / "tokenizer/vocab.json").read_text()) == json.loads((given / "vocab.json").read_text())
    assert (folder / "tokenizer/merges.txt").read_text() == (given / "merges.txt").read_text()
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".txt", ".safetensors"}
    assert load(folder).digest == base.digest


def test_a_pipeline_with_a_broken_weight_is_not_published(store: RunStore, base: Components) -> None:
    with torch.no_grad():
        base.denoiser.conv_in.weight[0, 0, 0, 0] = torch.inf
    with pytest.raises(ArtifactInvalid, match=r"unet: conv_in\.weight holds numbers that are not finite"):
        write_pipeline_artifact(store, base, draft(base))
    assert not store.exists("artifact")


def test_forms_that_cannot_be_written_are_refused_before_training() -> None:
    fields = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}}
    dora = {"useDora": True}
    assert list(refused(FineTuneJobSpec.model_validate(fields))) == []
    assert list(refused(FineTuneJobSpec.model_validate({**fields, "lora": dora}))) == []
    kohya = FineTuneJobSpec.model_validate({**fields, "lora": dora, "export": {"formats": ["Kohya"]}})
    assert "DoRA" in next(refused(kohya))
    assert lora_formats(Export(formats=["Kohya"]), dora=False) == ["PEFT", "Kohya"]
    assert lora_formats(Export(), dora=True) == ["PEFT", "Diffusers"]


def test_onnx_is_refused_before_training_where_its_libraries_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "pictures"}}}
    spec = FineTuneJobSpec.model_validate({**fields, "export": {"formats": ["ONNX"]}})
    assert not [*refused(spec), *lacking(spec)]
    monkeypatch.setattr(onnx_libraries, "LIBRARIES", ("onnx", "no_such_library"))
    told = "spec.export.formats: ONNX needs no_such_library; install Diptych with its extra onnx."
    assert [*refused(spec), *lacking(spec)] == [told]


def test_tensorrt_is_passed_over_and_the_record_says_why() -> None:
    export = Export(formats=["TensorRT", "Merged"])
    assert lora_formats(export, dora=False) == ["PEFT", "Merged"]
    assert skipped(export) == {"TensorRT": "Diptych does not make TensorRT engines yet."}


def test_a_base_from_the_hub_is_named_with_its_revision(base: Components) -> None:
    record = base_record(Base(hugging_face=HuggingFaceModel(repo="a/b", revision="1" * 40)), base)
    assert (record.source, record.revision) == ("huggingFace:a/b", "1" * 40)
