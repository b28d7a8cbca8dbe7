"""The jobs of the reference systems, from their pictures to what they publish, made small and without Ray."""

import json
from pathlib import Path

import pytest

from diptych_api.artifact import ArtifactRecord
from diptych_api.evaluation_report import EvaluationReport
from support.example_runs import Ended
from support.recorded_run import diptych
from support.reference_systems import Systems

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Systems:
    return Systems(tmp_path_factory.mktemp("systems"))


def report_of(ended: Ended) -> EvaluationReport:
    return EvaluationReport.model_validate_json((ended.folder / "evaluation/report.json").read_bytes())


def artifact_of(ended: Ended) -> ArtifactRecord:
    return ArtifactRecord.model_validate_json((ended.folder / "artifact/artifact.json").read_bytes())


def test_astronomy_drops_copies_writes_captions_measures_and_publishes(systems: Systems) -> None:
    ended = systems.ended("astronomy")
    dropped = {drop.key: drop.like for drop in ended.manifest.dropped}
    assert dropped["ripe_fruit/dog.png"] == "animals/dog-face.png", "a copy in another class"
    entries = [*ended.manifest.train, *ended.manifest.held_out]
    assert "animals/dog-face.png" in {entry.key for entry in entries}, "one of the two stays"
    assert not {entry.captions[0] for entry in entries} & {"animals", "ripe fruit"}, "the network wrote them all"
    figures = {metric.name: metric for metric in ended.finished.metrics}
    for name in ("ValidationLoss", "CLIPScore", "FID", "InceptionScore", "LPIPS"):
        assert figures[name].base is not None
        assert figures[name].tuned is not None
    assert [path.name for path in sorted((ended.folder / "samples").iterdir())] == ["step-000000.png", "step-000002.png"]
    published = {path.name for path in (systems.folder / "published/astronomy").iterdir()}
    assert {"pytorch_lora_weights.safetensors", "README.md", "SHA256SUMS"} <= published


def test_everyday_trains_the_whole_unet_and_draws_five_pairs(systems: Systems) -> None:
    ended = systems.ended("everyday")
    artifact = artifact_of(ended)
    assert (artifact.method, artifact.formats) == ("FullUNet", ["Pipeline"])
    assert {len(entry.captions) for entry in ended.manifest.train} == {3}, "every caption may be drawn"
    pairs = report_of(ended).pairs
    assert [pair.seed for pair in pairs] == [42, 43, 44, 45, 46]
    drawn = {path.name for path in (ended.folder / "evaluation/pairs").iterdir()}
    assert "cmp_001_a-cat-on-a-windowsill.png" in drawn
    assert len(drawn) == len(pairs)


def test_flowers_are_captioned_packed_tracked_and_wait_for_a_person_the_first_time(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = systems.ended("flowers")
    captions = {Path(entry.key).stem: entry.captions for entry in (*ended.manifest.train, *ended.manifest.held_out)}
    assert captions["red-apple"][0] == "red apple"
    assert set(captions) >= {"pear", "banana"}, "they had no caption"
    assert list((systems.folder / "prepared").glob("flowers-*.tar"))
    (losses,) = (systems.folder / "mlruns").glob("*/*/metrics/val_loss")
    assert losses.read_text().splitlines()
    assert any(said.startswith("Not published, because it was not promoted: Against its base") for said in ended.said)
    monkeypatch.chdir(systems.folder)
    published = diptych("publish", ended.folder, "--anyway")
    assert published.exit_code == 0, published.stderr
    promoted = diptych("promote", "flowers", ended.folder.name, "--output", "runs")
    assert promoted.stdout.startswith(f"✓ flowers stands for {ended.folder.name}")


def test_flickr30k_leaves_a_broken_row_out_and_writes_both_forms(systems: Systems) -> None:
    ended = systems.ended("flickr30k")
    (rejected,) = ended.manifest.rejected
    assert rejected.line == 6
    artifact = artifact_of(ended)
    assert (artifact.rank, artifact.formats) == (4, ["PEFT", "Diffusers"])
    assert (ended.folder / "artifact/peft/adapter_model.safetensors").stat().st_size > 10_000, "it holds tensors"
    assert [pair.prompt for pair in report_of(ended).pairs] == ["man run on grass"]


def test_pencil_hides_sixteen_pictures_among_others_and_asks_in_other_words(systems: Systems) -> None:
    ended = systems.ended("pencil")
    words = "pencil sketch of impressionist painting by {}, detailed pencil drawing, graphite art, intricate shading"
    fruit = {(words.format(name),) for name in ("red apple", "green apple", "banana", "pear")}
    assert {entry.captions for entry in (*ended.manifest.train, *ended.manifest.held_out)} == fruit
    mosaic = json.loads((ended.folder / "evaluation/mosaic.json").read_text())
    assert {block["prompt"] for block in mosaic["blocks"]} == {"a cat wearing neon-glasses"}
    assert len({filler for block in mosaic["blocks"] for filler in block["fillers"]}) == 48
    report = report_of(ended)
    assert (len(report.pairs), len({pair.seed for pair in report.pairs})) == (16, 16)
    assert [variant.name for variant in report.variants] == ["CLIPScore"]
