"""Runs that must beat the version before them: drawn, measured, decided and promoted, without Ray."""

import shutil
import threading
from dataclasses import replace

import pytest

from diptych_api.after import Gate, Promotion
from diptych_api.diffusionmodel import ModelPointer
from diptych_api.evaluation_report import EvaluationReport, GateDecision
from diptych_api.finetunejob import FineTuneJob
from diptych_api.report import Report
from diptych_api.resource import ObjectMeta
from diptych_training.finish import conclude
from diptych_training.phases import Run, promote
from diptych_training.promotion import read_pointer, version_of
from diptych_training.reporter import Reporter
from diptych_training.share import Share
from support.bare_runs import Listener, train
from support.tiny_jobs import tiny_share

pytestmark = pytest.mark.slow

GATES = [Gate(metric="ValidationLoss"), Gate(metric="StyleDistance", min_improvement=-0.5)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Share:
    """A run that was trained and is to be concluded; it is copied, never written to."""
    promotion = Promotion(model="best", gates=GATES).model_dump(by_alias=True)
    share = tiny_share(tmp_path_factory.mktemp("gate"), promotion=promotion)
    train(share, Listener())
    return share


def another(share: Share, name: str) -> Share:
    """Return a run of the same weights under another name."""
    store = share.store.beside(name)
    source, target = share.store.local(), store.local()
    assert source is not None
    assert target is not None
    shutil.copytree(source, target)
    return replace(share, store=store)


def concluded(share: Share) -> GateDecision:
    """Conclude a run as a worker does, and promote it as its driver does."""
    finished = conclude(share, "tiny", share.spec.base, lambda _: False)
    decision = finished.gate
    assert decision is not None
    job = FineTuneJob(metadata=ObjectMeta(name="tiny"), spec=share.spec)
    said: list[Report] = []
    promote(Run(job, share.spec, share.spec, share.store, Reporter(said.append), threading.Event()), finished)
    assert said[-1].phase == "Gating"
    assert said[-1].message.endswith(decision.reason)
    return decision


def current(share: Share) -> str | None:
    pointer = read_pointer(share.store, "best")
    return None if pointer is None or pointer.current is None else pointer.current.run


def evidence(share: Share) -> EvaluationReport:
    found = share.store.read_json("evaluation/report.json", EvaluationReport)
    assert found is not None
    return found


def test_trap_18_the_first_must_beat_its_base_and_the_next_the_first_with_the_same_prompts_and_seeds(
    trained: Share,
) -> None:
    first = another(trained, "first")
    decision = concluded(first)
    assert (decision.outcome, decision.rival) == ("Promoted", None), decision.reason
    assert current(first) == "first"
    assert concluded(first) == decision, "after a crash the same run is not held against itself"
    second = another(trained, "second")
    equal = concluded(second)
    assert (equal.outcome, equal.rival, current(second)) == ("NotPromoted", "first", "first")
    assert [check.improvement for check in equal.checks] == [0, 0], "the same weights answer alike"
    report = evidence(second)
    assert report.gate == equal
    folder = second.store.local()
    assert folder is not None
    for pair in report.pairs:
        assert pair.incumbent is not None
        assert pair.tuned is not None
        drawn = (folder / "evaluation" / pair.incumbent, folder / "evaluation" / pair.tuned)
        assert drawn[0].read_bytes() == drawn[1].read_bytes()
    assert "Not promoted to best." in (folder / "evaluation/report.html").read_text(encoding="utf-8")
    weights = first.store.local()
    assert weights is not None
    (weights / "artifact/peft/adapter_model.safetensors").write_bytes(b"damaged")
    lame = concluded(another(trained, "third"))
    assert lame.outcome == "NotPromoted"
    assert lame.reason.startswith("first, the current version, cannot be read:")


def test_on_a_cluster_the_artifact_is_held_against_its_base_and_offered(trained: Share) -> None:
    offered = concluded(replace(another(trained, "pod"), promotes=False))
    assert (offered.outcome, offered.rival) == ("Offered", None)
    assert current(trained) in {None, "first"}


def test_on_a_cluster_the_current_version_is_drawn_too_and_where_it_cannot_be_read_the_base_alone(
    trained: Share,
) -> None:
    first = another(trained, "stands")
    assert concluded(replace(first, promotes=False)).outcome == "Offered"
    version = version_of(first.store, "tiny", [], "gates of tiny")
    standing = ModelPointer(current=version)
    equal = another(trained, "equal")
    drawn = concluded(replace(equal, promotes=False, standing=standing))
    assert (drawn.outcome, drawn.rival) == ("NotPromoted", "stands")
    assert [check.improvement for check in drawn.checks] == [0, 0]
    assert all(pair.incumbent for pair in evidence(equal).pairs)
    elsewhere = ModelPointer(current=version.model_copy(update={"uri": "s3://elsewhere/artifact"}))
    blind = concluded(replace(another(trained, "blind-pod"), promotes=False, standing=elsewhere))
    assert (blind.outcome, blind.rival) == ("Offered", None)


def test_without_an_evaluation_nothing_is_promoted(trained: Share) -> None:
    spec = trained.spec.model_copy(update={"evaluation": trained.spec.evaluation.model_copy(update={"enabled": False})})
    decision = concluded(replace(another(trained, "blind"), spec=spec))
    assert decision.outcome == "NotPromoted"
    assert "spec.evaluation.enabled" in decision.reason
