"""What people ask by the commands, and an operator that does it; KubeRay and the program are played."""

from collections.abc import Callable

import pytest

from cluster.control_plane import ControlPlane
from cluster.rayjob_states import TO_RUNNING
from diptych_operator.kinds import DIFFUSION_MODEL, FINE_TUNE_JOB, RAY_JOB
from support.memory_moves import JOB, MODEL, artifact, figures, job_spec, model_spec
from support.recorded_run import diptych
from support.stage import Stage
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("operator")]
Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(control_plane: ControlPlane, stage: Stage) -> Ask:
    """Return what runs a command in the namespace; it returns exit code and all that was printed."""

    def run(*arguments: str) -> tuple[int, str]:
        ended = diptych(*arguments, "--kubeconfig", control_plane.admin_kubeconfig, "-n", stage.namespace)
        return ended.exit_code, ended.stdout + ended.stderr

    return run


@pytest.fixture
def running(stage: Stage) -> Stage:
    """Return the stage with a job whose program trains."""
    stage.create(job_spec())
    play_to_running(stage)
    stage.report(JOB, phase="Training", step=40, loss=0.2)
    until(lambda: stage.status(FINE_TUNE_JOB, JOB).get("progress", {}).get("step") == 40)
    return stage


def play_to_running(stage: Stage) -> None:
    until(lambda: stage.find(RAY_JOB, JOB) is not None)
    stage.play(RAY_JOB, JOB, *TO_RUNNING)
    until(lambda: stage.phase(FINE_TUNE_JOB, JOB) == "Running")


def attempt(stage: Stage) -> int:
    return int(stage.status(FINE_TUNE_JOB, JOB).get("attempt", 0))


def test_a_cancelled_job_is_over_and_its_story_stays(running: Stage, ask: Ask) -> None:
    assert ask("cancel", JOB)[0] == 0
    code, told = ask("wait", JOB, "--timeout", "60s")
    assert (code, running.phase(FINE_TUNE_JOB, JOB)) == (1, "Cancelled")
    assert f"{JOB} will not succeed" in told
    assert "train 40/100 · loss 0.200" in ask("logs", JOB)[1]
    assert ask("resume", JOB)[0] == 2


def test_a_suspended_job_goes_on_in_another_attempt(running: Stage, ask: Ask) -> None:
    assert ask("suspend", JOB)[0] == 0
    code, told = ask("logs", JOB, "-f")
    assert (code, told.splitlines()[-1]) == (0, f"next: diptych resume {JOB}")
    assert running.phase(FINE_TUNE_JOB, JOB) == "Suspended"
    assert ask("resume", JOB)[0] == 0
    until(lambda: attempt(running) == 2)
    play_to_running(running)


def test_a_failed_job_gets_the_attempt_that_was_asked_for(running: Stage, ask: Ask) -> None:
    failure = {"reason": "DatasetInvalid", "message": "12 of 20 pictures cannot be read."}
    running.report(JOB, phase="Failed", failure=failure)
    running.play(RAY_JOB, JOB, "Failed")
    code, told = ask("wait", JOB, "--timeout", "60s")
    assert code == 1
    assert "DatasetInvalid: 12 of 20 pictures cannot be read." in told
    assert ask("resume", JOB)[0] == 0
    until(lambda: attempt(running) == 2)
    play_to_running(running)
    running.report(JOB, phase="Succeeded", step=100, artifact=artifact(), **figures())
    running.play(RAY_JOB, JOB, "Succeeded")
    assert ask("wait", JOB, "--timeout", "60s")[0] == 0
    assert "attempt 1 ended: DatasetInvalid" in ask("logs", JOB)[1]


def test_a_model_stands_for_the_run_that_was_named(running: Stage, ask: Ask) -> None:
    running.create(model_spec())
    running.report(JOB, phase="Succeeded", step=100, artifact=artifact(), **figures())
    running.play(RAY_JOB, JOB, "Succeeded")
    until(lambda: running.phase(DIFFUSION_MODEL, MODEL) == "Ready")
    run = running.status(DIFFUSION_MODEL, MODEL)["current"]["run"]
    assert run in ask("get", "models")[1]
    assert ask("promote", MODEL, run)[0] == 0
    until(lambda: running.phase(DIFFUSION_MODEL, MODEL) == "Pinned")
    assert ask("promote", MODEL, "--unpin")[0] == 0
    until(lambda: running.phase(DIFFUSION_MODEL, MODEL) == "Ready")
