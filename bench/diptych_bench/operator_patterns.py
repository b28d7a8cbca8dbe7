"""A job that trains and the same job at its end, really made by the operator, to be copied."""

from dataclasses import dataclass

from cluster.control_plane import ControlPlane
from cluster.rayjob_states import TO_RUNNING
from diptych_bench.operator_job import PATTERN, Pattern, Stage, finished, training
from diptych_bench.operator_process import OperatorProcess, started_operator


@dataclass(frozen=True, slots=True)
class Patterns:
    """The same job at two moments."""

    running: Pattern
    ended: Pattern


def played_patterns(plane: ControlPlane) -> Patterns:
    """Let the operator see a job through, and stop it."""
    with started_operator(plane) as operator:
        stage = Stage(plane, PATTERN)
        stage.begin()
        for state in TO_RUNNING:
            stage.play(state)
        stage.await_status(lambda status: status.get("phase") == "Running")
        stage.say(training(10))
        running = _settled(operator, plane, stage, "Running")
        stage.say(finished())
        stage.play("Succeeded")
        return Patterns(running, _settled(operator, plane, stage, "Succeeded"))


def _settled(operator: OperatorProcess, plane: ControlPlane, stage: Stage, phase: str) -> Pattern:
    stage.await_status(lambda status: status.get("phase") == phase and "progress" in status)
    operator.settle()
    return Pattern.of(plane.api, stage.name)
