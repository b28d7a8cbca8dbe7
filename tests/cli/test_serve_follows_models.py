"""Adapters that `diptych serve` takes from a model of this machine, and follows when another run is promoted."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from diptych_api.diffusiondeployment import DiffusionDeploymentSpec
from diptych_api.errors import RunFailed, UserError
from diptych_api.servingconfig import ServedAdapter
from diptych_cli import serving
from diptych_cli.found_adapters import Models, find_adapters
from diptych_cli.serving import _follow, _waiting
from support.recorded_run import diptych

HERE = Path("runs/local")
POINTER = HERE / "models/noto/current.json"
SPEC = DiffusionDeploymentSpec.model_validate(
    {
        "base": {"builtin": "tiny-emoji"},
        "adapters": [{"name": "style", "fromModel": {"name": "noto"}, "strength": 0.5}, {"name": "own", "uri": "own"}],
    }
)


@pytest.fixture
def runs(run: Path) -> tuple[str, str]:
    """The names of two runs in runs/, one copied from the other."""
    other = run.with_name("noto-style-0badcafe")
    shutil.copytree(run, other)
    return run.name, other.name


def promote(run: str) -> None:
    ended = diptych("promote", "noto", run, "--output", "runs")
    assert ended.exit_code == 0, ended.stderr


def models(said: list[str]) -> Models:
    return Models(SPEC, HERE, find_adapters(SPEC, HERE), said.append)


def test_an_adapter_is_what_the_model_stands_for(runs: tuple[str, str]) -> None:
    waiting = find_adapters(SPEC, HERE)[0]
    assert _waiting(SPEC, find_adapters(SPEC, HERE)) == [
        "style waits for a version of noto: diptych promote noto RUN --output RUNS"
    ]
    assert (waiting.name, waiting.uri, waiting.strength) == ("style", None, 0.5)
    promote(runs[0])
    style, own = find_adapters(SPEC, HERE)
    assert (style.run, style.uri) == (runs[0], str((HERE / runs[0] / "artifact").absolute()))
    assert style.digest is not None
    assert own.uri == str(Path("own").absolute())


def test_another_version_is_brought_in_once_and_again_after_a_failure(
    runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LOOK_EVERY_S", 0.01)
    said, brought, stop = list[str](), list[list[ServedAdapter]](), threading.Event()
    followed = models(said)
    assert followed.newer() is None
    promote(runs[1])

    def bring(adapters: list[ServedAdapter]) -> None:
        brought.append(adapters)
        if len(brought) == 1:
            raise RunFailed("Ray is busy.")
        stop.set()

    _follow(followed, bring, said.append, stop)
    assert said == ["Ray is busy."]
    assert [adapters[0].run for adapters in brought] == [runs[1]] * 2
    assert followed.newer() is None


def test_a_pointer_that_cannot_be_read_is_told_and_its_version_stays(runs: tuple[str, str]) -> None:
    promote(runs[0])
    said = list[str]()
    followed = models(said)
    for content in (b"", b'{"format": "diptych.mo', b"\xff", b'{"current": {"run": "../.."}}'):
        POINTER.write_bytes(content)
        assert followed.newer() is None
        assert "runs/local/models/noto/current.json cannot be read" in said.pop()
    with pytest.raises(UserError, match="cannot be read"):
        find_adapters(SPEC, HERE)
    POINTER.unlink()
    gone = followed.newer()
    assert gone is not None
    assert gone[0].uri is None


def test_runs_that_were_moved_are_found_where_they_are(runs: tuple[str, str], tmp_path: Path) -> None:
    promote(runs[0])
    shutil.move("runs", tmp_path / "moved")
    (style, _) = find_adapters(SPEC, tmp_path / "moved/local")
    assert style.uri == str(tmp_path / "moved/local" / runs[0] / "artifact")


JOB = DiffusionDeploymentSpec.model_validate(
    {"base": {"builtin": "tiny-emoji"}, "adapters": [{"name": "style", "fromJob": {"name": "noto-style"}}]}
)


def turned_down(run: str) -> None:
    """Let the gates of a run have turned it down."""
    file = HERE / run / "status.json"
    gate = {"outcome": "NotPromoted", "model": "noto", "reason": "It is worse."}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"gate": gate}))


def test_a_job_is_followed_to_its_newest_run_but_to_none_that_its_gates_turned_down(runs: tuple[str, str]) -> None:
    (older, newer), record = runs, "artifact/artifact.json"
    for age, run in enumerate(reversed(runs)):
        os.utime(HERE / run / record, (1e9 - age, 1e9 - age))
    turned_down(newer)
    (style,) = find_adapters(JOB, HERE)
    followed = Models(JOB, HERE, [style], print)
    assert (style.run, followed.newer()) == (older, None)
    promote(newer)
    told = followed.newer()
    assert told is not None, "a person's word is above the gates"
    assert told[0].uri == str((HERE / newer / "artifact").absolute())


def test_a_job_whose_runs_were_all_turned_down_is_not_served(runs: tuple[str, str]) -> None:
    for run in runs:
        turned_down(run)
    with pytest.raises(UserError, match="no adapter that was promoted"):
        find_adapters(JOB, HERE)


def test_a_run_that_is_still_to_be_judged_is_not_served(runs: tuple[str, str]) -> None:
    for run in runs:
        record = json.loads((HERE / run / "run.json").read_text())
        record["spec"]["promotion"] = {"model": "noto"}
        (HERE / run / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="no adapter that was promoted"):
        find_adapters(JOB, HERE)
