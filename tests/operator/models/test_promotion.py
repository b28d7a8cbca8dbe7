"""What finished runs and people's words make of a model."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from diptych_api.diffusionmodel import DiffusionModel
from diptych_api.finetunejob import FineTuneJob
from diptych_api.wire import from_wire
from diptych_operator.defaults import Defaults
from diptych_operator.models.plan import plan
from diptych_operator.observed import ModelSeen
from diptych_operator.plan import Plan
from diptych_operator.status_values import status_values

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DIGEST = f"sha256:{'0' * 64}"
Figures = list[dict[str, Any]]
SPEC = {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "s3://b/d"}}, "output": {"uri": "s3://b/r"}}


def figure(name: str, base: float | None, tuned: float | None) -> dict[str, Any]:
    return {"name": name, "base": base, "tuned": tuned, "n": 8}


def job(name: str, loss: float | None = 0.1, *, gates: Figures | None = None, **status: Any) -> FineTuneJob:
    """Return a job that succeeded, the later the higher its name."""
    done = NOW - timedelta(hours=200 - ord(name[0]))
    values = {
        "phase": "Succeeded",
        "run": f"s3://b/r/art/{run(name)}",
        "completionTime": done.isoformat(),
        "artifact": {"uri": f"s3://b/r/art/{run(name)}/artifact", "digest": DIGEST, "sizeBytes": 1}
        | {"trainableParameters": 1},
        "evaluation": [] if loss is None else [figure("ValidationLoss", 0.2, loss)],
    }
    promotion = {"promotion": {"model": "best", "gates": gates or []}}
    head = {"metadata": {"name": name, "namespace": "art"}, "spec": SPEC | promotion, "status": values | status}
    return from_wire(FineTuneJob, {"apiVersion": "diptych.dev/v1alpha1", "kind": "FineTuneJob", **head})


def run(name: str) -> str:
    return f"{name}-0123abcd"


class Story:
    """A model over time: every look is written down."""

    def __init__(self, **spec: Any) -> None:
        self.spec, self.jobs, self.now, self.generation = spec, list[FineTuneJob](), NOW, 1
        self.status: dict[str, Any] = {}
        self.notes: list[tuple[str, str]] = []

    def look(self, *jobs: FineTuneJob, **spec: Any) -> Plan:
        self.jobs += jobs
        self.spec = {name: value for name, value in {**self.spec, **spec}.items() if value is not None}
        self.now += timedelta(seconds=1)
        head = {"metadata": {"name": "best", "namespace": "art", "generation": self.generation}}
        values = {"apiVersion": "diptych.dev/v1alpha1", "kind": "DiffusionModel", **head}
        model = from_wire(DiffusionModel, values | {"spec": self.spec, "status": self.status})
        made = plan(ModelSeen(model, tuple(self.jobs)), Defaults(image="x"), self.now)
        self.status = status_values(made.status)
        self.notes += [(note.reason, note.message) for note in made.notes]
        return made

    def run_of(self, part: str) -> str | None:
        version = self.status.get(part)
        return version["run"].removesuffix("-0123abcd") if version else None

    @property
    def history(self) -> list[str]:
        return [version["run"].removesuffix("-0123abcd") for version in self.status.get("history", [])]


def test_without_a_run_the_model_is_empty() -> None:
    story = Story()
    story.look()
    assert story.status["phase"] == "Empty"
    assert [(c["status"], c["reason"]) for c in story.status["conditions"]] == [("False", "NoVersion")]


def test_the_first_artifact_that_is_better_than_its_base_becomes_current() -> None:
    story = Story()
    story.look(job("a", 0.132))
    assert (story.run_of("current"), story.run_of("previous"), story.status["phase"]) == ("a", None, "Ready")
    assert story.status["current"]["promotedBy"] == "gates of a"
    assert story.status["columns"]["score"] == "val loss 0.132 (−34 %)"


@pytest.mark.parametrize("loss", [0.2, 0.3, None])
def test_an_artifact_that_is_not_better_is_turned_down_once_with_the_reason(loss: float | None) -> None:
    story = Story()
    story.look(job("a", loss))
    story.look()
    assert story.run_of("current") is None
    assert [reason for reason, _ in story.notes] == ["NotPromoted", "Empty"]
    assert [one["outcome"] for one in story.status["considered"]] == ["Rejected"]
    assert story.status["considered"][0]["message"] in story.notes[0][1]


def test_what_the_job_itself_turned_down_is_not_promoted() -> None:
    story = Story()
    decision = {"outcome": "NotPromoted", "model": "best", "reason": "Against its base: it must be better."}
    story.look(job("a", 0.1, gate=decision), job("b", 0.15, gate={"outcome": "Offered", "model": "best"}))
    assert story.run_of("current") == "b"
    assert "NotPromoted" in [reason for reason, _ in story.notes]
    assert any(decision["reason"] in message for _, message in story.notes)


def test_what_the_job_saw_against_the_current_version_counts_before_figures_of_other_pictures() -> None:
    story = Story()
    story.look(job("a", 0.1))
    drawn = {"outcome": "Offered", "model": "best", "reason": "Against a: better.", "rival": run("a")}
    story.look(job("b", 0.12, gate=drawn))
    assert story.run_of("current") == "b", "its own held-out pictures are others"
    story.look(job("c", 0.13, gate=drawn))
    assert story.run_of("current") == "b", "it was held against a, which stands no more: by figures it is worse"


def test_the_next_one_must_beat_the_current_one() -> None:
    story = Story()
    story.look(job("a", 0.1))
    story.look(job("b", 0.15))
    assert story.run_of("current") == "a"
    story.look(job("c", 0.05))
    assert (story.run_of("current"), story.run_of("previous"), story.history) == ("c", "a", ["c", "a"])


def test_a_run_that_was_turned_down_stays_so_whoever_is_current_later() -> None:
    story = Story()
    story.look(job("a", 0.1), job("b", 0.15))
    story.look(pin=run("a"))
    story.jobs = [one for one in story.jobs if one.metadata.name == "b"]
    story.status["current"]["metrics"][0]["tuned"] = 0.19
    story.look(pin=None)
    assert story.run_of("current") == "a"


def test_runs_that_are_seen_at_once_are_taken_in_the_order_of_their_end() -> None:
    together, apart = Story(), Story()
    together.look(job("c", 0.15), job("b", 0.05), job("a", 0.1))
    for one in (job("a", 0.1), job("b", 0.05), job("c", 0.15)):
        apart.look(one)
    for story in (together, apart):
        assert (story.run_of("current"), story.run_of("previous"), story.history) == ("b", "a", ["b", "a"])


@pytest.mark.parametrize(
    ("gates", "figures", "current"),
    [
        ([{"metric": "StyleDistance"}], [figure("StyleDistance", 3, 3)], None),
        ([{"metric": "StyleDistance", "minImprovement": -1}], [figure("StyleDistance", 3, 3.5)], None),
        (
            [{"metric": "StyleDistance", "minImprovement": -1}, {"metric": "CLIPScore"}],
            [figure("StyleDistance", 3, 3.5), figure("CLIPScore", 20, 21)],
            "a",
        ),
        ([{"metric": "StyleDistance", "minImprovement": 1}], [figure("StyleDistance", 3, 2.5)], None),
        ([{"metric": "StyleDistance", "minImprovement": 1}], [figure("StyleDistance", 3, 2)], "a"),
        ([{"metric": "CLIPScore", "minImprovement": 0.5}], [figure("CLIPScore", 20, 21)], "a"),
        ([{"metric": "CLIPScore"}], [figure("CLIPScore", 20, 19)], None),
        (
            [{"metric": "StyleDistance"}, {"metric": "CLIPScore"}],
            [figure("StyleDistance", 3, 2), figure("CLIPScore", 20, 19)],
            None,
        ),
        ([{"metric": "KID"}], [figure("StyleDistance", 3, 2)], None),
        ([{"metric": "KID"}], [figure("KID", None, 2)], None),
        ([{"metric": "KID"}], [figure("KID", 3, None)], None),
    ],
)
def test_trap_18_every_gate_must_hold(gates: Figures, figures: Figures, current: str | None) -> None:
    story = Story()
    story.look(job("a", gates=gates, evaluation=figures))
    assert story.run_of("current") == current


def test_figures_of_the_gates_stand_first() -> None:
    story = Story()
    figures = [figure("ValidationLoss", 0.2, 0.1), figure("StyleDistance", 3, 2)]
    story.look(job("a", gates=[{"metric": "StyleDistance"}], evaluation=figures))
    assert story.status["columns"]["score"] == "style distance 2 (−33 %)"


@pytest.mark.parametrize("status", [{"phase": "Failed"}, {"phase": "Running"}, {"artifact": None}])
def test_only_a_job_that_succeeded_with_an_artifact_is_looked_at(status: dict[str, Any]) -> None:
    story = Story()
    story.look(job("a", **status))
    assert (story.run_of("current"), [reason for reason, _ in story.notes]) == (None, ["Empty"])


def test_by_hand_a_good_artifact_waits_until_it_is_pinned() -> None:
    story = Story(policy="Manual")
    story.look(job("a"))
    assert (story.run_of("current"), story.run_of("candidate")) == (None, "a")
    assert story.notes[0][0] == "CandidateWaits"
    story.look(pin=run("a"))
    assert (story.run_of("current"), story.run_of("candidate"), story.status["phase"]) == ("a", None, "Pinned")
    assert story.status["current"]["promotedBy"] == "spec.pin"
    story.look(pin=None)
    assert (story.run_of("current"), story.history) == ("a", ["a"])


def test_a_pin_rolls_back_and_without_it_the_newest_is_current_again() -> None:
    story = Story()
    story.look(job("a", 0.1), job("b", 0.05))
    story.look(pin=run("a"))
    assert (story.run_of("current"), story.run_of("previous"), story.history) == ("a", "b", ["b", "a"])
    story.look(pin=None)
    assert (story.run_of("current"), story.run_of("previous")) == ("b", "a")


def test_while_a_version_is_pinned_better_ones_are_remembered() -> None:
    story = Story()
    story.look(job("a", 0.1))
    story.look(pin=run("a"))
    story.look(job("b", 0.05))
    assert (story.run_of("current"), story.history) == ("a", ["b", "a"])
    story.look(pin=None)
    assert story.run_of("current") == "b"


def test_a_person_may_pin_what_the_gates_turned_down() -> None:
    story = Story()
    story.look(job("a", 0.1), job("b", 0.15))
    story.look(pin=run("b"))
    assert (story.run_of("current"), story.history) == ("b", ["b", "a"])


def test_a_pin_that_nobody_knows_leaves_what_is_current() -> None:
    story = Story()
    story.look(job("a", 0.1))
    story.look(pin="nobody-00000000")
    assert (story.run_of("current"), story.status["phase"]) == ("a", "PinMissing")
    assert story.status["conditions"][0]["reason"] == "PinMissing"
    assert "PinMissing" in dict(story.notes)


def test_a_job_that_is_deleted_stays_a_version() -> None:
    story = Story()
    story.look(job("a", 0.1), job("b", 0.05))
    story.jobs.clear()
    story.look(pin=run("a"))
    assert (story.run_of("current"), story.history) == ("a", ["b", "a"])


def test_the_history_is_bounded_and_what_is_forgotten_does_not_come_back() -> None:
    story = Story(historyLimit=2)
    jobs = [job(name, 0.19 - number / 1000) for number, name in enumerate("abcdefgh")]
    story.look(*jobs)
    assert (story.history, story.run_of("current")) == (["h", "g"], "h")
    story.status["considered"] = story.status["considered"][:1]
    story.status["consideredBefore"] = jobs[-2].status.model_dump(mode="json")["completion_time"]
    before = story.status
    story.look()
    assert story.status == before


def test_hundreds_of_runs_fit_into_the_status_and_none_is_looked_at_twice() -> None:
    story = Story()
    names = [f"{chr(97 + number % 26)}{number}" for number in range(200)]
    story.look(*(job(name, 0.3) for name in names))
    told = len(story.notes)
    assert ([reason for reason, _ in story.notes].count("NotPromoted"), len(story.status["considered"])) == (200, 50)
    before = story.status
    story.look()
    assert (story.status, len(story.notes)) == (before, told)


def test_a_look_without_news_changes_nothing() -> None:
    story = Story()
    story.look(job("a", 0.1), job("b", 0.15), job("c", 0.05))
    before = story.status
    for _ in range(3):
        assert not story.look().notes
    assert story.status == before


def test_every_new_phase_is_told_once() -> None:
    story = Story()
    for jobs, spec, told in (
        ([], {}, [("Empty", "Normal")]),
        ([], {"pin": run("a")}, [("PinMissing", "Warning")]),
        ([job("a", 0.1)], {}, [("Promoted", "Normal"), ("Pinned", "Normal")]),
        ([], {"pin": None}, [("Ready", "Normal")]),
        ([], {"pin": run("a")}, [("Pinned", "Normal")]),
        ([], {"pin": "nobody-00000000"}, [("PinMissing", "Warning")]),
        ([], {"pin": "another-00000000"}, [("PinMissing", "Warning")]),
        ([], {"pin": None}, [("Ready", "Normal")]),
    ):
        story.generation += 1
        assert [(note.reason, note.type) for note in story.look(*jobs, **spec).notes] == told
        assert story.look().notes == ()


def test_a_phase_that_comes_again_is_another_event() -> None:
    story, keys = Story(), list[str]()
    story.look(job("a", 0.1))
    for pin in (run("a"), None) * 2:
        story.generation += 1
        keys += [note.key for note in story.look(pin=pin).notes]
    assert len(set(keys)) == 4
