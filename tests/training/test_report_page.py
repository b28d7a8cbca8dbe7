import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych_api.after import Gate, Promotion
from diptych_api.errors import RunFailed
from diptych_api.evaluation_report import EvaluationReport, Interval, MetricResult, PairResult
from diptych_api.sources import Output
from diptych_training.gate import decide
from diptych_training.mosaic import BLOCKS, FILLERS, Filler, compose, slot_map, slots
from diptych_training.report_page.files import write_page
from diptych_training.report_page.page import bar, html
from diptych_training.run_store import RunStore

LOSS = MetricResult(
    name="ValidationLoss",
    base=0.187,
    tuned=0.124,
    difference=-0.063,
    interval=Interval(low=-0.07, high=-0.05),
    n=40,
    p_value=0.0002,
)
DULL = MetricResult(name="KID", n=0, warning="2 drawn and 1 real pictures are too few.")


def report(**changes: Any) -> EvaluationReport:
    values: dict[str, Any] = {
        "run": "noto-12345678",
        "seed": 7,
        "inference_steps": 5,
        "guidance_scale": 3,
        "scheduler": "DDIM",
        "size": 64,
        "metrics": [LOSS, DULL],
        "verdict": "Better",
        "time": datetime(2026, 1, 31, 12, tzinfo=UTC),
    }
    return EvaluationReport(**(values | changes))


def words(page: str) -> str:
    body = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", body)


def test_the_page_opens_with_the_verdict_what_it_rests_on_and_how_sure_it_is() -> None:
    told = words(html(report(), {}))
    assert "Tuned is better ValidationLoss went from 0.187 to 0.124 (−34 %)." in told
    assert "Over 40 samples the change lies between −0.07 and −0.05, with 95 % confidence." in told
    assert "< 0.001" in html(report(), {}).replace("&lt;", "<")
    assert DULL.warning in told


@pytest.mark.parametrize("verdict", ["Worse", "NotSure"])
def test_a_page_about_no_gain_says_so(verdict: str) -> None:
    told = words(html(report(verdict=verdict), {}))
    assert {"Worse": "Tuned is worse", "NotSure": "Not sure which is better"}[verdict] in told


def test_a_page_without_figures_without_a_base_and_without_pictures_is_still_a_page() -> None:
    assert "No figure was measured: 2 drawn and 1 real" in words(html(report(metrics=[DULL]), {}))
    alone = MetricResult(name="StyleDistance", tuned=0.1, n=3)
    assert "there is no base to compare with" in words(html(report(metrics=[alone], verdict="NotSure"), {}))
    assert "No figure was measured." in words(html(report(metrics=[], verdict="NotSure"), {}))


def test_a_gate_is_told_with_what_was_asked_and_what_was_seen() -> None:
    promotion = Promotion(
        model="noto",
        gates=[
            Gate(metric="ValidationLoss", min_improvement=0.01),
            Gate(metric="CLIPScore", min_improvement=-0.02),
            Gate(metric="KID"),
        ],
    )
    clip = MetricResult(name="CLIPScore", base=0.3, tuned=0.29, difference=-0.01, n=40, lower_is_better=False)
    told = words(html(report(gate=decide(promotion, [LOSS, clip, DULL], "noto-1a2b3c4d")), {}))
    assert "Not promoted to noto. Held against noto-1a2b3c4d on the same prompts and seeds." in told
    assert (
        "ValidationLoss: 0.124 against 0.187, better by 0.063 (interval +0.05 to +0.07, n = 40). "
        "Asked for an improvement of 0.01."
    ) in told
    assert "CLIPScore: 0.29 against 0.3, worse by 0.01. Asked for a loss of 0.02 at most." in told
    assert "KID: no figure of both. Asked for any improvement." in told


def test_what_other_words_change_has_a_table_of_its_own() -> None:
    told = words(html(report(variant="{prompt}, in gold", variants=[LOSS]), {}))
    assert "The tuned model asked for “{prompt}, in gold”, against its own pictures of the plain prompt." in told
    assert "Plain In these words" in told


def test_words_of_strangers_stay_words() -> None:
    evil = '"><script>alert(1)</script>'
    page = html(report(pairs=[PairResult(prompt=evil, seed=7, base="base/000.png")], run=evil), {})
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_bar_holds_the_interval_and_no_change() -> None:
    drawn = bar(LOSS)
    assert drawn is not None
    assert 0 < drawn.low < drawn.mid < drawn.high < drawn.zero < 190
    assert bar(LOSS.model_copy(update={"interval": None})) is None


def test_the_file_needs_nothing_from_elsewhere_and_shows_every_picture(tmp_path: Path) -> None:
    store = RunStore.open(Output(uri=str(tmp_path)), "local", "noto-12345678", tmp_path)
    with pytest.raises(RunFailed, match=r"no report\.json"):
        write_page(store)
    sizes = {"base/000.png": 64, "tuned/000.png": 300}
    for place, side in sizes.items():
        path = tmp_path / "local" / store.name / "evaluation" / place
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((side, side, 3), 200, np.uint8)).save(path)
    pair = PairResult(prompt="red apple", seed=7, base="base/000.png", tuned="tuned/000.png", real="real/gone.png")
    store.write_json("evaluation/report.json", report(pairs=[pair]))
    write_page(store)
    page = (store.read_bytes("evaluation/report.html") or b"").decode()
    sources = re.findall(r'src="([^"]*)"', page)
    assert [source.partition(";")[0] for source in sources] == ["data:image/png", "data:image/webp"]
    assert "href" not in page
    assert "://" not in page
    assert "red apple" in words(page)


def test_the_mosaic_is_on_the_page_with_its_answers_behind_one_click(tmp_path: Path) -> None:
    store = RunStore.open(Output(uri="runs"), "local", "noto-12345678", tmp_path)
    store.write_json("evaluation/report.json", report())
    pictures = [np.full((8, 8, 3), shade, np.uint8) for shade in range(BLOCKS)]
    fillers = [Filler(np.zeros((8, 8, 3), np.uint8), f"{n}.png") for n in range(FILLERS)]
    sheet = io.BytesIO()
    compose(pictures, fillers, seed=7).save(sheet, "PNG")
    store.write_bytes("evaluation/mosaic.png", sheet.getvalue())
    prompts = [f"picture {n}" for n in range(BLOCKS)]
    store.write_bytes("evaluation/mosaic.json", json.dumps(slot_map(prompts, fillers, seed=7)).encode())
    write_page(store)
    page = (store.read_bytes("evaluation/report.html") or b"").decode()
    _, hidden = page.split("<details>")
    place = ("upper left", "upper right", "lower left", "lower right")[slots(7)[5]]
    assert f"Row 2, column 2: {place} picture 5" in words(hidden)
    assert "picture 5" not in words(page.split("<details>")[0])


def test_the_page_tells_how_exact_the_exported_network_is(tmp_path: Path) -> None:
    store = RunStore.open(Output(uri="runs"), "local", "noto-12345678", tmp_path)
    store.write_json("evaluation/report.json", report())
    write_page(store)
    assert "ONNX" not in words((store.read_bytes("evaluation/report.html") or b"").decode())
    cases = [
        {"inputs": {"sample": [n, 4, 8, 8], "timestep": []}, "max_abs_diff": 2e-6, "largest_output": 3.5}
        for n in (1, 2)
    ]
    told = {"parts": {"vae_decoder": {"bytes": 9, "max_abs_diff": 2e-6, "cases": cases}}}
    store.write_bytes("artifact/onnx/parity.json", json.dumps(told).encode())
    write_page(store)
    page = words((store.read_bytes("evaluation/report.html") or b"").decode())
    assert "vae decoder 2 1 × 4 × 8 × 8, 2 × 4 × 8 × 8 2e-06 at most, where outputs reach 3.5" in page


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("evaluation/mosaic.json", b'{"blocks": [{"slot": 4, "prompt": "x"}]}'),
        ("evaluation/mosaic.json", b'{"blocks": [{"slot": -1, "prompt": "x"}]}'),
        ("evaluation/mosaic.json", b"[" * 100_000),
        ("evaluation/mosaic.png", b"no picture"),
        ("artifact/onnx/parity.json", b'{"parts": {"unet": {"cases": []}}}'),
        ("artifact/onnx/parity.json", b'{"parts": {"unet": {"max_abs_diff": null, "cases": [{"inputs": {}}]}}}'),
    ],
)
def test_a_damaged_file_beside_the_report_costs_its_place_on_the_page(
    tmp_path: Path, name: str, damaged: bytes
) -> None:
    store = RunStore.open(Output(uri="runs"), "local", "noto-12345678", tmp_path)
    store.write_json("evaluation/report.json", report())
    sheet = io.BytesIO()
    Image.new("RGB", (8, 8)).save(sheet, "PNG")
    store.write_bytes("evaluation/mosaic.png", sheet.getvalue())
    store.write_bytes("evaluation/mosaic.json", b'{"blocks": []}')
    store.write_bytes(name, damaged)
    write_page(store)
    page = words((store.read_bytes("evaluation/report.html") or b"").decode())
    assert "Tuned is better" in page
    assert "ONNX" not in page
