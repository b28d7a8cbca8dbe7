import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer
from PIL import Image as Pillow

from diptych_api.after import Evaluation, Extractors, Metric
from diptych_api.dataset import Dataset, Image, Split
from diptych_api.errors import SpecInvalid
from diptych_api.evaluation_report import EvaluationReport
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_api.sources import DatasetSource, Output
from diptych_api.training import LoRA
from diptych_diffusion import lora
from diptych_diffusion.components import Components
from diptych_diffusion.pipeline import load
from diptych_diffusion.sampler import SampleRequest, sample
from diptych_training.data.manifest import prepare
from diptych_training.distances import psnr
from diptych_training.evaluate import Exam, Models, evaluate, metric_values
from diptych_training.evaluation_files import SHOWN
from diptych_training.measure import captioned_pictures, through_vae
from diptych_training.metrics import paired
from diptych_training.run_store import RunStore
from diptych_training.suites import prompts_of
from diptych_training.supported import refused
from support.judges import make_clip, make_lpips
from support.tiny_jobs import write_pictures
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow

SETTINGS = Evaluation(inference_steps=2, guidance_scale=2, max_prompts=3, seed=50)
IMAGE = Image(size=64)
ROOT = Path(__file__).parents[2]
ASSESS = ROOT / "examples" / "tiny-emoji" / "assess.py"


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def exam(pictures: Path, tmp_path: Path) -> Exam:
    dataset = Dataset(source=DatasetSource(uri=str(pictures)), split=Split(count=4), image=IMAGE)
    held_out = prepare(dataset, tmp_path / "work", lambda _done, _total: None).held_out
    return Exam(SETTINGS, IMAGE, held_out, artifact=f"sha256:{'a' * 64}")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.open(Output(uri=str(tmp_path / "runs")), "local", "tiny-12345678", tmp_path)


def adapted(folder: Path) -> Components:
    """Return the base with an adapter that changes what it draws."""
    components = load(folder)
    lora.inject(components.denoiser, LoRA(rank=2, alpha=4), seed=0)
    random = torch.Generator().manual_seed(1)
    state = lora.adapter_state(components.denoiser)
    moved = {key: w + 0.3 * torch.randn(w.shape, generator=random) for key, w in state.items()}
    lora.load_adapter_state(components.denoiser, moved)
    return components


def picture(path: Path) -> Any:
    with Pillow.open(path) as file:
        return np.asarray(file)


def test_base_and_tuned_are_drawn_from_the_same_prompts_and_seeds(
    base_folder: Path, exam: Exam, store: RunStore
) -> None:
    components = adapted(base_folder)
    seen: list[tuple[int, int]] = []
    report = evaluate(Models(components, components), exam, store, lambda done, of: seen.append((done, of)))
    folder = store.get_folder("evaluation")
    prompts = tuple(entry.captions[0] for entry in exam.held_out[:3])
    request = SampleRequest(prompts, (50, 51, 52), steps=2, guidance_scale=2)
    expected = {"base": sample(load(base_folder), request), "tuned": sample(components, request)}
    for side, drawn in expected.items():
        for n in range(3):
            np.testing.assert_array_equal(picture(folder / side / f"{n:03d}.png"), drawn[n])
    assert (expected["base"] != expected["tuned"]).any()
    assert [(pair.prompt, pair.seed) for pair in report.pairs] == list(zip(prompts, (50, 51, 52), strict=True))
    for n, entry in enumerate(exam.held_out[:3]):
        np.testing.assert_array_equal(picture(folder / "real" / f"{n:03d}.png"), picture(entry.path))
    assert seen == sorted(seen)
    assert seen[-1] == (6, 6)


def test_the_report_on_disk_says_everything_that_is_needed_to_do_it_again(
    base_folder: Path, exam: Exam, store: RunStore
) -> None:
    components = adapted(base_folder)
    known = paired("ValidationLoss", [0.5 + n / 10 for n in range(12)], [0.2 + n / 10 for n in range(12)])
    report = evaluate(Models(components, components), replace(exam, measured=(known,)), store)
    folder = store.get_folder("evaluation")
    assert EvaluationReport.model_validate_json((folder / "report.json").read_bytes()) == report
    assert (report.seed, report.inference_steps, report.guidance_scale, report.scheduler) == (50, 2, 2, "DDIM")
    assert (report.size, report.dtype, report.base) == (64, "fp32", f"sha256:{components.digest}")
    assert (report.run, report.artifact) == ("tiny-12345678", exam.artifact)
    assert torch.__version__.startswith(report.versions["torch"])
    assert report.seconds_per_image is not None
    assert [m.name for m in report.metrics] == ["ValidationLoss", "StyleDistance", "ThumbnailDistance"]
    assert report.verdict == "Better", "by the interval of the first metric"
    style = report.metrics[1]
    assert style.tuned == pytest.approx(np.mean([pair.figures["StyleDistance.tuned"] for pair in report.pairs]))
    assert style.interval is not None
    assert "ValidationLoss.tuned" not in report.pairs[0].figures, "its samples are not the prompts"
    assert [value.name for value in metric_values(report)] == [m.name for m in report.metrics]
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(report.files) | {"report.json"} == on_disk
    assert {"compare.png", "base/002.png", "tuned/000.png", "real/001.png", "before.png", "after.png"} <= on_disk
    assert sum(name.startswith("pairs/cmp_00") for name in on_disk) == 3
    schema = json.loads((ROOT / "docs/reference/evaluation-report.schema.json").read_bytes())
    jsonschema.validate(json.loads((folder / "report.json").read_bytes()), schema)


def test_an_adapter_without_effect_is_not_called_better(base_folder: Path, exam: Exam, store: RunStore) -> None:
    components = load(base_folder)
    lora.inject(components.denoiser, LoRA(rank=2, alpha=4), seed=0)
    settings = SETTINGS.model_copy(update={"metrics": ["StyleDistance"]})
    report = evaluate(Models(components, components), replace(exam, settings=settings), store)
    assert report.verdict == "NotSure"
    assert report.metrics[0].difference == 0
    np.testing.assert_array_equal(
        picture(store.get_folder("evaluation") / "base/000.png"),
        picture(store.get_folder("evaluation") / "tuned/000.png"),
    )


def test_rivals_are_asked_for_each_caption_through_the_same_vae(
    base_folder: Path, exam: Exam, store: RunStore, pictures: Path
) -> None:
    components = adapted(base_folder)
    rivals = {text: 255 - pixels for text, pixels in captioned_pictures(pictures, IMAGE).items()}
    report = evaluate(Models(components, components), replace(exam, rivals=rivals), store)
    shares = {m.name: m for m in report.metrics if m.name.startswith("Nearer")}
    assert set(shares) == {"NearerByStyle", "NearerByThumbnail"}
    assert all(pair.figures["NearerByStyle.tuned"] in (0, 1) for pair in report.pairs)
    assert shares["NearerByStyle"].tuned == pytest.approx(
        sum(pair.figures["NearerByStyle.tuned"] for pair in report.pairs) / 3
    )


def test_other_words_are_compared_with_the_plain_prompt_from_the_same_noise(
    base_folder: Path, exam: Exam, store: RunStore
) -> None:
    models = Models(load(base_folder), None)
    for words, same in (("{prompt}", True), ("gold {prompt}", False)):
        settings = SETTINGS.model_copy(update={"variant": words, "inference_steps": 1})
        report = evaluate(models, replace(exam, settings=settings), store)
        style = next(metric for metric in report.variants if metric.name == "StyleDistance")
        assert (style.difference == 0) is same
        assert report.pairs[0].variant == "variant/000.png"
        folder = store.get_folder("evaluation")
        plain, other = (picture(folder / side / "000.png") for side in ("tuned", "variant"))
        assert bool((plain == other).all()) is same


def test_own_prompts_without_real_pictures_give_pictures_and_a_warning_instead_of_a_figure(
    base_folder: Path, exam: Exam, store: RunStore
) -> None:
    components = adapted(base_folder)
    known = exam.held_out[0].captions[0]
    settings = SETTINGS.model_copy(update={"prompts": ["a purple thing", known]})
    report = evaluate(Models(components, components), replace(exam, settings=settings), store)
    assert [pair.real for pair in report.pairs] == [None, "real/001.png"]
    warnings = {m.name: m.warning for m in report.metrics}
    assert warnings["StyleDistance"] == "There is no real picture for every prompt."
    assert warnings["ValidationLoss"] == "It was not measured."
    assert report.verdict == "NotSure"


def test_a_suite_is_asked_by_name_or_from_a_text_file(
    base_folder: Path, exam: Exam, store: RunStore, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("# mine\n a purple thing\n\nanother\n", encoding="utf-8")
    models = Models(load(base_folder), None)
    for suite, first, name in (
        (str(tmp_path / "mine.txt"), "a purple thing", "mine.txt"),
        ("flowers", "a sunflower", "flowers"),
    ):
        settings = SETTINGS.model_copy(update={"suite": suite, "inference_steps": 1, "max_prompts": 2})
        report = evaluate(models, replace(exam, settings=settings), store)
        assert (report.pairs[0].prompt, report.suite, len(report.pairs)) == (first, name, 2)
    assert list(refused(with_evaluation(Evaluation(suite="flowers")))) == []
    (told,) = refused(with_evaluation(Evaluation(suite="flower")))
    assert told.startswith("spec.evaluation.suite: flower is no suite; astronomy, everyday, flowers, neon-cat are")
    with pytest.raises(SpecInvalid, match=r"gone\.txt cannot be read"):
        prompts_of(str(tmp_path / "gone.txt"))


def test_without_a_base_and_with_nothing_held_out_there_is_still_a_report(
    base_folder: Path, exam: Exam, store: RunStore
) -> None:
    scratch = Models(load(base_folder), None)
    alone = evaluate(scratch, exam, store)
    assert alone.base is None
    assert [pair.base for pair in alone.pairs] == [None] * 3
    assert alone.metrics[1].base is None
    assert alone.metrics[1].tuned is not None
    nothing = evaluate(scratch, replace(exam, held_out=()), store)
    assert nothing.pairs == []
    assert store.list("evaluation") == ("report.json",), "files of the earlier evaluation are gone"


def test_a_stop_in_the_middle_leaves_the_older_evaluation(base_folder: Path, exam: Exam, store: RunStore) -> None:
    components = adapted(base_folder)
    evaluate(Models(components, components), exam, store)
    before = store.read_bytes("evaluation/report.json")

    def stop(done: int, _of: int) -> None:
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(Models(components, components), exam, store, stop)
    assert store.read_bytes("evaluation/report.json") == before
    layers = [module for module in components.denoiser.modules() if isinstance(module, LoraLayer)]
    assert layers
    assert not any(layer.disable_adapters for layer in layers), "the adapter is on again"


def test_many_prompts_show_some_in_compare_and_all_in_another_grid(
    base_folder: Path, exam: Exam, store: RunStore
) -> None:
    settings = SETTINGS.model_copy(
        update={"prompts": [f"thing {n}" for n in range(SHOWN + 1)], "inference_steps": 1, "max_prompts": 40}
    )
    evaluate(Models(load(base_folder), None), replace(exam, settings=settings), store)
    folder = store.get_folder("evaluation")
    assert picture(folder / "grid-all.png").size > picture(folder / "compare.png").size


def with_evaluation(evaluation: Evaluation) -> FineTuneJobSpec:
    return FineTuneJobSpec.model_validate(
        {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "x"}}, "evaluation": evaluation}
    )


def test_trap_17_metrics_that_need_a_network_are_refused_before_training_when_none_is_named() -> None:
    assert list(refused(with_evaluation(Evaluation()))) == []
    asked = Evaluation(metrics=["FID", "LPIPS", "StyleDistance"])
    assert [sentence.split(", ")[0] for sentence in refused(with_evaluation(asked))] == [
        "spec.evaluation.metrics: FID needs spec.evaluation.extractors.features",
        "spec.evaluation.metrics: LPIPS needs spec.evaluation.extractors.lpips",
    ]


def test_trap_17_networks_judge_with_their_digest_the_number_of_pictures_and_a_warning(
    base_folder: Path, exam: Exam, store: RunStore, tmp_path: Path
) -> None:
    clip, alex = str(make_clip(tmp_path / "clip")), str(make_lpips(tmp_path / "lpips"))
    names: list[Metric] = ["CLIPScore", "KID", "FID", "CMMD", "LPIPS", "InceptionScore"]
    prompts = [entry.captions[0] for entry in exam.held_out] * 3
    update = {
        "metrics": names,
        "extractors": Extractors(clip=clip, features=clip, lpips=alex),
        "prompts": prompts,
        "max_prompts": 12,
        "inference_steps": 1,
    }
    components = adapted(base_folder)
    settings = replace(exam, settings=SETTINGS.model_copy(update=update), held_out=exam.held_out * 3)
    report = evaluate(Models(components, components), settings, store)
    found = {m.name: m for m in report.metrics}
    assert list(found)[:6] == names
    for name in names[:5]:
        metric = found[name]
        assert (metric.n, metric.network) == (12, "lpips_alex" if name == "LPIPS" else "clip")
        assert str(metric.weights).startswith("sha256:")
        assert metric.base is not None
        assert metric.interval is not None
        assert metric.difference == pytest.approx((metric.tuned or 0) - metric.base)
        assert metric.interval.low <= metric.interval.high
    assert found["FID"].warning == "12 pictures: FID is too high below 16 pictures a side; trust KID."
    assert found["InceptionScore"].warning == "It needs the classes of Inception v3, which clip has not."
    assert found["CLIPScore"].p_value is not None
    assert not found["CLIPScore"].lower_is_better
    assert "CLIPScore.tuned" in report.pairs[0].figures


def test_the_round_trip_is_what_the_vae_gives_back(base_folder: Path, pictures: Path) -> None:
    components = load(base_folder)
    given = np.stack(list(captioned_pictures(pictures, IMAGE).values()))
    seen = through_vae(components, given)
    assert seen.shape == given.shape
    np.testing.assert_array_equal(seen[3:4], through_vae(components, given[3:4]))
    x = torch.from_numpy(given[:1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        y = components.vae.decode(components.vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
    direct = ((y / 2 + 0.5) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert psnr(seen[:1], direct)[0] > 50


def assess_main() -> Callable[[list[str]], None]:
    spec = importlib.util.spec_from_file_location("assess", ASSESS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[list[str]], None] = module.main
    return main


def test_the_assessment_of_the_base_runs_on_a_base_its_pictures_and_a_run(
    base_folder: Path, pictures: Path, exam: Exam, store: RunStore, tmp_path: Path
) -> None:
    components = adapted(base_folder)
    evaluate(Models(components, components), exam, store)
    made = tmp_path / "made"
    made.mkdir()
    (made / "twemoji").symlink_to(pictures)
    all_pictures = np.stack(list(captioned_pictures(pictures, IMAGE).values()))
    np.savez(made / "all.npz", pictures=all_pictures, held=np.arange(12) < 5)
    out = tmp_path / "assessment"
    options = ["--pictures", str(made), "--run", str(store.local()), "--nearer", str(pictures), "--steps", "1"]
    assess_main()([str(base_folder), *options, "--out", str(out)])
    figures = json.loads((out / "assessment.json").read_text())
    assert figures["vae_pictures"] == 5
    assert figures["captions"] == figures["training_pictures"] == 12
    assert 0 <= figures["nearest_is_right"] <= 1
    assert figures["pairs"] == 3
    assert (figures["NearerByStyle.base"], figures["NearerByThumbnail.tuned"]) == (0, 0), "rivals equal the real ones"
    assert picture(out / "montage.png").shape[1] > 500
