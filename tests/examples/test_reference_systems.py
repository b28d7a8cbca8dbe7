"""The reference systems, made small: each job from its pictures to what it publishes, then a server for its clients."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych_api.artifact import ArtifactRecord
from diptych_api.evaluation_report import EvaluationReport
from support.example_runs import Ended
from support.recorded_run import diptych
from support.reference_systems import Systems
from support.services import Served, picture_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Systems:
    return Systems(tmp_path_factory.mktemp("systems"))


def report_of(ended: Ended) -> EvaluationReport:
    return EvaluationReport.model_validate_json((ended.folder / "evaluation/report.json").read_bytes())


def artifact_of(ended: Ended) -> ArtifactRecord:
    return ArtifactRecord.model_validate_json((ended.folder / "artifact/artifact.json").read_bytes())


def captions_of(ended: Ended) -> dict[str, tuple[str, ...]]:
    """Return the captions of every picture by the name of its file."""
    return {Path(entry.key).stem: entry.captions for entry in (*ended.manifest.train, *ended.manifest.held_out)}


def differ(first: str, second: str) -> bool:
    return not np.array_equal(picture_of(first), picture_of(second))


def compared(service: Served, **body: Any) -> list[str]:
    """Return the pictures of base and adapter."""
    answer = service.client.post("/v1/compare", json=body)
    assert answer.status_code == 200, answer.text
    return [image["image"] for image in answer.json()["images"]]


def test_astronomy_drops_copies_writes_captions_measures_publishes_and_counts_its_visitors(systems: Systems) -> None:
    ended = systems.run("astronomy")
    dropped = {drop.key: drop.like for drop in ended.manifest.dropped}
    assert dropped["ripe_fruit/dog.png"] == "animals/dog-face.png", "a copy in another class"
    captions = captions_of(ended)
    assert "dog-face" in captions, "one of the two stays"
    assert not {words[0] for words in captions.values()} & {"animals", "ripe fruit"}, "the network wrote them all"
    figures = {metric.name: metric for metric in ended.finished.metrics}
    for name in ("ValidationLoss", "CLIPScore", "FID", "InceptionScore", "LPIPS"):
        assert None not in (figures[name].base, figures[name].tuned)
    assert {path.name for path in (ended.folder / "samples").iterdir()} == {"step-000000.png", "step-000002.png"}
    published = {path.name for path in (systems.folder / "published/astronomy").iterdir()}
    assert {"pytorch_lora_weights.safetensors", "README.md", "SHA256SUMS"} <= published
    with systems.serving("astronomy") as service:
        body = {"prompt": "a ringed gas giant", "steps": 2, "seed": "1234", "session_id": "visitor"}
        answers = [service.client.post("/infer", json=body) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert answers[5].json()["reason"] == "SessionRequests"
        pair = answers[0].json()
        assert pair["status"] == "LoRA applied successfully."
        assert differ(pair["base_image"], pair["lora_image"])
        assert service.client.post("/infer", json=body | {"steps": 61, "session_id": "other"}).status_code == 422
        assert service.client.get("/health").json() == {"status": "ok"}


def test_everyday_trains_the_whole_unet_and_answers_with_either(systems: Systems) -> None:
    ended = systems.run("everyday")
    artifact = artifact_of(ended)
    assert (artifact.method, artifact.formats) == ("FullUNet", ["Pipeline"])
    assert {len(words) for words in captions_of(ended).values()} == {3}, "every caption may be drawn"
    pairs = report_of(ended).pairs
    assert [pair.seed for pair in pairs] == [42, 43, 44, 45, 46]
    drawn = {path.name for path in (ended.folder / "evaluation/pairs").iterdir()}
    assert (len(drawn), "cmp_001_a-cat-on-a-windowsill.png" in drawn) == (len(pairs), True)
    with systems.serving("everyday") as service:
        body = {"prompt": "a cat on a windowsill", "num_inference_steps": 2, "seed": 42}
        kinds = ("original", "fine-tuned")
        answers = [service.client.post("/generate/", json=body | {"model_type": kind}) for kind in kinds]
        assert [answer.headers["content-type"] for answer in answers] == ["image/png"] * 2
        assert answers[0].content != answers[1].content
        assert service.client.post("/generate/", json=body | {"model_type": "other"}).status_code == 400


def test_flowers_are_captioned_packed_and_tracked_and_published_by_a_person_the_first_time(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = systems.run("flowers")
    artifact = artifact_of(ended)
    assert (artifact.formats, list(artifact.skipped)) == (["Pipeline", "ONNX"], ["TensorRT"])
    captions = captions_of(ended)
    assert captions["red-apple"][0] == "red apple"
    assert {"pear", "banana"} <= set(captions), "they had no caption"
    assert list((systems.folder / "prepared").glob("flowers-*.tar"))
    (losses,) = (systems.folder / "mlruns").glob("*/*/metrics/val_loss")
    assert losses.read_text()
    assert "Not published, because it was not promoted: A model from scratch has no base" in " ".join(ended.said)
    monkeypatch.chdir(systems.folder)
    promoted = diptych("promote", "flowers", ended.folder.name, "--output", "runs")
    assert promoted.stdout.startswith(f"✓ flowers stands for {ended.folder.name}")
    assert diptych("publish", ended.folder, "--anyway").exit_code == 0
    assert (systems.folder / "published/flowers/onnx/unet/model.onnx").is_file()
    with systems.serving("flowers", ["base.uri=published/flowers"]) as service:
        body = {"prompt": "a sunflower", "steps": 4, "stream": True, "preview_every": 2}
        lines = service.client.post("/v1/generate", json=body).text.splitlines()
        assert lines.count("event: preview") == 1, "after two of four steps"
        assert json.loads(lines[-2].removeprefix("data: "))["images"][0]["degraded"] is None


def test_flickr30k_leaves_a_broken_row_out_and_its_adapter_changes_pictures(systems: Systems) -> None:
    ended = systems.run("flickr30k")
    assert [rejected.line for rejected in ended.manifest.rejected] == [6]
    artifact = artifact_of(ended)
    assert (artifact.rank, artifact.formats) == (4, ["PEFT", "Diffusers"])
    assert [pair.prompt for pair in report_of(ended).pairs] == ["man run on grass"]
    with systems.serving("flickr30k") as service:
        assert differ(*compared(service, prompt="man run on grass", steps=2, seed=1))


def test_pencil_hides_sixteen_pictures_among_others_and_has_its_words_as_a_style(systems: Systems) -> None:
    ended = systems.run("pencil")
    assert artifact_of(ended).formats == ["PEFT", "Diffusers", "Merged"]
    words = "pencil sketch of impressionist painting by {}, detailed pencil drawing, graphite art, intricate shading"
    fruit = {(words.format(name),) for name in ("red apple", "green apple", "banana", "pear")}
    assert set(captions_of(ended).values()) == fruit
    mosaic = json.loads((ended.folder / "evaluation/mosaic.json").read_text())
    assert {block["prompt"] for block in mosaic["blocks"]} == {"a cat wearing neon-glasses"}
    assert len({filler for block in mosaic["blocks"] for filler in block["fillers"]}) == 48
    report = report_of(ended)
    assert len({pair.seed for pair in report.pairs}) == 16
    assert [variant.name for variant in report.variants] == ["CLIPScore"]
    with systems.serving("pencil") as service:
        cat = {"prompt": "a cat wearing neon-glasses", "seed": 1}
        assert differ(compared(service, **cat)[1], compared(service, **cat, template="pencil")[1])
