"""MLflow is told all of a run once, whatever is away or killed meanwhile, and training never waits for it."""

import threading
from functools import partial
from pathlib import Path

import pytest

from diptych_api.diffusionmodel import ModelVersion
from diptych_api.errors import UnsupportedHere
from diptych_api.finetunejob import FineTuneJobSpec
from diptych_training.places import localized
from diptych_training.promotion import change_pointer, pinned
from diptych_training.reporter import Reporter
from diptych_training.run_store import RunStore
from diptych_training.supported import check_supported
from diptych_training.tracking.delivery import Delivery
from diptych_training.tracking.folder import Folder
from diptych_training.tracking.place import TrackingAwayError
from diptych_training.tracking.server import credentials
from diptych_training.tracking.tracker import Tracker
from support.tracking import ARTIFACT, BEGAN, MemoryPlace, past_run, report, train_on

DONE = report("Succeeded", artifact=ARTIFACT, metrics=[{"name": "KID", "base": 0.2, "tuned": 0.1}])


def delivery(store: RunStore, spec: FineTuneJobSpec, place: MemoryPlace | Folder) -> Delivery:
    assert spec.tracking is not None
    return Delivery(store, spec.tracking, place)


def test_a_run_is_told_with_settings_figures_files_and_a_version_of_its_model(tmp_path: Path) -> None:
    store, spec = past_run(tmp_path, uri="http://mlflow")
    place = MemoryPlace()
    first = delivery(store, spec, place)
    first.bring(report("Training", imagesPerSecond=31, parts=[{"name": "UNet", "seconds": 9}]))
    assert {("images_per_second", 31, 5), ("training_seconds/UNet", 9, 5)} <= {figure[:3] for figure in place.figures}
    assert (place.status, place.losses()[-1], set(place.files)) == ("RUNNING", (5, 0.2), {"samples/step-000000.png"})
    assert (place.params["training.learningRate"], place.params["lora.rank"]) == ("0.0001", "16")
    assert not any("uri" in name for name in place.params if name.startswith("tracking"))
    first.bring(DONE)
    told = {(key, value) for key, value, *_ in place.figures}
    assert {("evaluation/KID/base", 0.2), ("evaluation/KID/tuned", 0.1)} <= told
    assert place.files["artifact/peft/adapter model.safetensors"] == b"weights"
    assert place.files["evaluation/report.html"] == b"<p>better</p>"
    assert (place.status, place.aliases) == ("FINISHED", {"noto@candidate": "1"})


def test_wherever_a_delivery_is_cut_short_the_next_one_tells_the_rest_and_nothing_twice(tmp_path: Path) -> None:
    whole = MemoryPlace()
    store, spec = past_run(tmp_path / "whole", steps=700, uri="http://mlflow")
    delivery(store, spec, whole).bring(DONE)
    for answers in range(12):
        store, spec = past_run(tmp_path / str(answers), steps=700, uri="http://mlflow")
        place = MemoryPlace(calls=answers)
        with pytest.raises(TrackingAwayError):
            delivery(store, spec, place).bring(DONE)
        place.calls = None
        delivery(store, spec, place).bring(DONE)
        assert place.losses() == whole.losses()
        assert len(place.figures) == len(whole.figures)
        assert (sorted(place.puts), place.status) == (sorted(whole.puts), "FINISHED")
        assert len(place.runs) == len(place.versions) == 1


def test_what_is_there_is_not_sent_again_and_a_run_that_goes_on_is_one_run(tmp_path: Path) -> None:
    store, spec = past_run(tmp_path, uri="http://mlflow")
    place = MemoryPlace()
    delivery(store, spec, place).bring(report("Suspended"))
    assert place.status == "KILLED"
    train_on(store, 5, 8)
    delivery(store, spec, place).bring(report("Training"))
    assert (place.status, place.losses()[-1][0], len(place.runs)) == ("RUNNING", 8, 1)
    delivery(store, spec, place).bring(DONE)
    place.calls = 0
    delivery(store, spec, place).bring(DONE)


def test_champion_is_the_run_that_the_model_stands_for_whoever_promoted_it(tmp_path: Path) -> None:
    store, spec = past_run(tmp_path, uri="http://mlflow")
    place = MemoryPlace()

    def stand_for(run: str) -> None:
        version = ModelVersion(run=run, uri="x", digest=f"sha256:{'0' * 64}", promoted_at=BEGAN, promoted_by="a person")
        change_pointer(store, "noto", partial(pinned, version=version))
        delivery(store, spec, place).bring(DONE)

    stand_for("another-12345678")
    assert set(place.aliases) == {"noto@candidate"}
    stand_for(store.name)
    assert place.aliases["noto@champion"] == "1"
    heard = len(place.figures), len(place.puts)
    del place.aliases["noto@champion"]
    stand_for("another-12345678")
    assert "noto@champion" not in place.aliases, "what is told later of an old champion does not bring it back"
    assert (len(place.figures), len(place.puts)) == heard
    assert (place.status, len(place.runs)) == ("FINISHED", 1)


def test_what_a_run_is_called_on_a_cluster_stays_where_no_model_is_remembered(tmp_path: Path) -> None:
    store, spec = past_run(tmp_path, uri="http://mlflow")
    assert spec.tracking is not None
    place = MemoryPlace()
    Delivery(store, spec.tracking, place, stands=True).bring(DONE)
    del place.aliases["noto@champion"]
    delivery(store, spec, place).bring(DONE)
    assert place.aliases == {}, "it is not called a candidate again, and takes no other run's place"


def test_a_server_that_is_away_is_told_later_and_nobody_waits_for_it(tmp_path: Path) -> None:
    store, spec = past_run(tmp_path, uri="http://mlflow")
    place = MemoryPlace(calls=0)
    heard: list[str] = []
    missed, arrived = threading.Event(), threading.Event()

    class Watched(Delivery):
        def bring(self, newest: object) -> None:
            try:
                super().bring(newest)  # type: ignore[arg-type]  # a report
            except TrackingAwayError:
                missed.set()
                raise
            arrived.set()

    assert spec.tracking is not None
    with Tracker(Watched(store, spec.tracking, place), every_s=0, first_pause_s=0.01) as tracker:
        reporter = Reporter(lambda told: heard.append(told.message), store, tracker=tracker)
        reporter.phase("Training")
        assert missed.wait(30)
        place.calls = None
        assert arrived.wait(30)
        reporter.update(step=1)
        reporter.update(step=2)
        reporter.update(phase=DONE.phase, artifact=DONE.artifact, metrics=DONE.metrics)
    assert tracker.is_told
    assert (place.status, place.losses()[-1][0]) == ("FINISHED", 5)
    assert any("it is told later. nobody answers" in message for message in heard)
    assert "MLflow hears of the run again." in heard


def test_an_end_does_not_wait_for_a_server_that_stays_away(tmp_path: Path) -> None:
    store, spec = past_run(tmp_path, uri="http://mlflow")
    tracker = Tracker(delivery(store, spec, MemoryPlace(calls=0)), every_s=0, patience_s=0.05)
    with tracker:
        tracker.tell(DONE)
    assert not tracker.is_told
    tracker.leave()
    tracker.thread.join(30)


def test_a_folder_is_a_file_store_that_tells_figures_once(tmp_path: Path) -> None:
    store, spec = past_run(tmp_path, steps=700, uri=str(tmp_path / "mlruns"))
    for _ in range(2):
        delivery(store, spec, Folder(tmp_path / "mlruns")).bring(DONE)
        store.remove("tracking.json")
    (run,) = (tmp_path / "mlruns").glob("*/*/meta.yaml")
    folder = run.parent
    assert (folder / "params" / "lora.rank").read_text() == "16"
    assert len((folder / "metrics" / "evaluation" / "KID" / "tuned").read_text().splitlines()) == 1
    assert (folder / "artifacts" / "samples" / "step-000000.png").read_bytes() == b"a sheet"
    assert "status: 3" in run.read_text()
    assert str(int(BEGAN.timestamp() * 1000)) in run.read_text()


def test_a_token_is_read_from_the_variable_that_the_job_names(tmp_path: Path) -> None:
    _, spec = past_run(tmp_path, uri="https://mlflow", token={"name": "mlflow", "key": "TOKEN"})
    assert spec.tracking is not None
    with pytest.raises(UnsupportedHere, match="variable TOKEN is not set"):
        credentials(spec.tracking.token, {})
    assert credentials(spec.tracking.token, {"TOKEN": "x"}) is not None
    in_pod = localized(spec, tmp_path, {}).tracking
    assert in_pod is not None
    assert in_pod.token is not None
    assert in_pod.token.key == "MLFLOW_TRACKING_TOKEN"
    assert credentials(None, {}) is None


@pytest.mark.parametrize(("uri", "found"), [("mlruns", "mlruns"), ("file:mlruns", "mlruns"), ("file:///a/b", "/a/b")])
def test_a_folder_is_named_by_a_path_or_a_file_uri(uri: str, found: str, tmp_path: Path) -> None:
    _, spec = past_run(tmp_path, uri=uri)
    check_supported(spec)
    here = localized(spec, tmp_path).tracking
    assert here is not None
    assert here.uri == str((tmp_path / found).resolve())


def test_what_is_neither_server_nor_folder_is_refused(tmp_path: Path) -> None:
    _, spec = past_run(tmp_path, uri="databricks://x")
    with pytest.raises(UnsupportedHere, match=r"spec\.tracking\.uri: databricks://x is neither"):
        check_supported(spec)
