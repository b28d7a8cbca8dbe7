"""What `/ready` tells, from what the gateway knows."""

from diptych_api.readiness import LONGEST, MOST_NOTES, AdapterReadiness, Readiness, StartReadiness
from diptych_serving.directory import Directory
from diptych_serving.replica_facts import AdapterFacts
from diptych_serving.service import Service


def readiness(service: Service) -> Readiness:
    """Return how far the deployment is."""
    directory, base = service.directory, service.directory.last_base
    return Readiness(
        ready=directory.is_ready and not service.door.is_closed,
        replicas=len(directory.replicas),
        base_digest=None if base is None else base.digest,
        safety_checker=base is not None and base.has_checker,
        adapters={facts.name: _adapter(facts) for facts in directory.adapters()},
        performance=service.speed.told(),
        start=_start(directory),
        notes=[note[:LONGEST] for note in directory.problems()][:MOST_NOTES],
    )


def _adapter(facts: AdapterFacts) -> AdapterReadiness:
    return AdapterReadiness(
        state=facts.state,
        message=facts.message[:LONGEST],
        digest=facts.digest,
        step=facts.step,
        mark=facts.mark,
    )


def _start(directory: Directory) -> StartReadiness | None:
    starts = [replica.start for replica in directory.replicas if replica.start is not None]
    if not starts:
        return None
    first = min(starts, key=lambda start: start.ready)
    return StartReadiness(
        pod=first.host,
        ready=round(first.ready, 3),
        weights_seconds=round(first.weights_s, 3),
        warmup_seconds=round(first.warmup_s, 3),
    )
