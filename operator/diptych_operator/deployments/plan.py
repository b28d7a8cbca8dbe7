"""What is to be done for a DiffusionDeployment.

A change of adapters, limits or replicas changes Ray Serve's configuration only. A change of what pods are made of
brings a new cluster, beside the old one or in its place. Anything else that is new, such as the operator's own
defaults, changes nothing that runs.
"""

from datetime import datetime
from typing import Final

from diptych_api.errors import SpecInvalid
from diptych_operator.conditions import Aspect, conditions, last_change
from diptych_operator.defaults import Defaults
from diptych_operator.deployments.found_adapters import found_adapters, served
from diptych_operator.deployments.look import Look, look
from diptych_operator.deployments.phases import Picture, notes, phase_of
from diptych_operator.deployments.settling import settling
from diptych_operator.deployments.status import status_of
from diptych_operator.deployments.step import LOOK_S, next_step
from diptych_operator.deployments.surroundings import surroundings
from diptych_operator.deployments.told_adapters import adapters_of, failed
from diptych_operator.deployments.troubles import failure, of_error, waiting
from diptych_operator.manifests.rayservice import ray_service
from diptych_operator.observed import DeploymentSeen
from diptych_operator.plan import Note, Plan

OURS: Final = "diptych.dev/operator"


def plan(seen: DeploymentSeen, defaults: Defaults, now: datetime) -> Plan | None:
    """Return what is to be done now; None when somebody else manages the deployment."""
    deployment = seen.deployment
    if deployment.spec.managed_by != OURS:
        return None
    turn = look(seen, defaults, now, found_adapters(seen))
    try:
        wanted = ray_service(deployment, served(turn.adapters), defaults)
        around = surroundings(turn)
    except SpecInvalid as error:
        return _invalid(turn, error)
    step = next_step(turn, wanted)
    settled = settling(turn, step)
    serves = settled.taken_in and turn.state is not None and turn.state.serves
    phase = phase_of(turn, step, taken_in=settled.taken_in)
    picture = Picture(
        phase=phase,
        failure=failure(turn, serves=serves),
        waiting=waiting(turn, serves=serves) if step.stage == "Following" else None,
        adapters=adapters_of(turn, phase),
    )
    status = status_of(turn, step, picture, taken_in=settled.taken_in)
    told = (*notes(turn, picture), *_news(turn), *_refusals(turn, picture))
    if turn.refused:
        return Plan(status=status, notes=told, requeue_s=LOOK_S)
    actions = (*around, *step.actions)
    requeues = [seconds for seconds in (step.requeue_s, settled.wait_s) if seconds is not None]
    return Plan(status=status, actions=actions, notes=told, requeue_s=min(requeues, default=None))


def _invalid(turn: Look, error: SpecInvalid) -> Plan:
    """Return the plan for a spec that cannot become pods: what runs stays as it is."""
    generation = turn.deployment.metadata.generation
    message = str(error)
    aspects = (
        Aspect("Ready", False, error.reason, message),
        Aspect("Progressing", False, "Failed"),
        Aspect("Degraded", True, error.reason, message),
    )
    before = turn.status.conditions
    after = conditions(before, aspects, generation, turn.now)
    changes = {
        "phase": "Failed",
        "observed_generation": generation,
        "conditions": after,
        "last_failure": of_error(error, turn),
    }
    note = Note(error.reason, message, "Warning", f"{generation} {last_change(before)}")
    return Plan(status=turn.status.model_copy(update=changes), notes=() if after == before else (note,))


def _news(turn: Look) -> tuple[Note, ...]:
    """Return the Events of adapters that follow another run than before, and of a new spec's route that is not made."""
    known = {adapter.name: adapter.run for adapter in turn.status.adapters}
    told = [
        Note("AdapterFollows", f"Adapter {one.served.name} is {one.served.run} now.", key=one.served.run)
        for one in turn.adapters
        if one.served.run is not None and known.get(one.served.name) != one.served.run
    ]
    generation = turn.deployment.metadata.generation
    off = turn.deployment.spec.endpoints.http.gateway is not None and not turn.defaults.gateway_api
    if off and turn.status.observed_generation != generation:
        text = "No HTTPRoute is made: the operator was started without gatewayAPI.enabled."
        told.append(Note("GatewayAPIOff", text, "Warning", str(generation)))
    return tuple(told)


def _refusals(turn: Look, picture: Picture) -> tuple[Note, ...]:
    """Return the Events of adapters that have failed since the last look."""
    known = {adapter.name for adapter in failed(tuple(turn.status.adapters))}
    return tuple(
        Note("AdapterFailed", f"{one.name}: {one.message}", "Warning", key=f"{one.uri} {one.run}")
        for one in failed(picture.adapters)
        if one.name not in known
    )
