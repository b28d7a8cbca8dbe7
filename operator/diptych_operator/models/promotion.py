"""What finished runs and people's words make of a model: each run is looked at once, a pin is followed always."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from diptych_api.diffusionmodel import Consideration, DiffusionModelSpec, DiffusionModelStatus, ModelVersion
from diptych_operator.models.gates import Verdict, judge
from diptych_operator.models.versions import Offer, known_versions
from diptych_operator.plan import Note

MOST_CONSIDERED: Final = 50
PERSON: Final = "spec.pin"
LONGEST_MESSAGE: Final = 512


@dataclass(frozen=True, slots=True)
class Standing:
    """What a name stands for, and what was told on the way."""

    status: DiffusionModelStatus
    pin_missing: bool = False
    notes: tuple[Note, ...] = field(default=())


def consider(standing: Standing, spec: DiffusionModelSpec, offers: Sequence[Offer], now: datetime) -> Standing:
    """Look at every run that was not looked at before, in the order in which they were done."""
    for offer in offers:
        if not _was_considered(standing.status, offer):
            standing = _consider(standing, spec, offer, now)
    return standing


def follow_pin(standing: Standing, spec: DiffusionModelSpec, offers: Sequence[Offer], now: datetime) -> Standing:
    """Let the name stand for the pinned version; without a pin, for the one that was promoted last."""
    status = standing.status
    if spec.pin is None:
        newest = status.history[0] if status.history else status.current
        return _stand_for(standing, newest)
    known = {offer.version.run: offer.version for offer in offers} | known_versions(status)
    wanted = known.get(spec.pin)
    if wanted is None:
        return replace(standing, pin_missing=True)
    promoted = [*status.history, status.current, status.previous]
    if wanted.run not in {version.run for version in promoted if version is not None}:
        wanted = wanted.model_copy(update={"promoted_at": now.replace(microsecond=0), "promoted_by": PERSON})
        standing = _promote(standing, wanted)
    return _stand_for(standing, wanted)


def bounded(status: DiffusionModelStatus, limit: int) -> DiffusionModelStatus:
    """Return a status that remembers no more than it may. What is forgotten is not looked at again."""
    kept, dropped = status.considered[:MOST_CONSIDERED], status.considered[MOST_CONSIDERED:]
    times = [one.completed_at for one in dropped] + ([status.considered_before] if status.considered_before else [])
    changes = {
        "history": status.history[:limit],
        "considered": kept,
        "considered_before": max(times) if times else None,
    }
    return status.model_copy(update=changes)


def _was_considered(status: DiffusionModelStatus, offer: Offer) -> bool:
    run, done = offer.version.run, offer.version.promoted_at
    forgotten = status.considered_before is not None and done <= status.considered_before
    return forgotten or run in known_versions(status) or any(one.run == run for one in status.considered)


def _consider(standing: Standing, spec: DiffusionModelSpec, offer: Offer, now: datetime) -> Standing:
    """Look at one run: it becomes a version, waits for a person's word, or is turned down."""
    status, version = standing.status, offer.version
    if offer.job.spec.promotion is None:
        return standing
    verdict = _own_verdict(offer, status) or judge(
        offer.job.spec.promotion, version.metrics, status.current.metrics if status.current else None
    )
    if not verdict.passed:
        return _told(standing, offer, "Rejected", verdict.reason)
    moment = now.replace(microsecond=0)
    if spec.policy == "Manual":
        waiting = version.model_copy(update={"promoted_at": moment, "promoted_by": ""})
        standing = replace(standing, status=status.model_copy(update={"candidate": waiting}))
        return _told(standing, offer, "Candidate", verdict.reason)
    promoted = version.model_copy(update={"promoted_at": moment, "promoted_by": f"gates of {version.job}"})
    standing = _promote(standing, promoted)
    if spec.pin is None:
        standing = _stand_for(standing, promoted)
    return _told(standing, offer, "Promoted", verdict.reason)


def _own_verdict(offer: Offer, status: DiffusionModelStatus) -> Verdict | None:
    """Return what the job itself decided, prompt by prompt; None where it was not held against the current version."""
    own = offer.job.status.gate
    if own is None:
        return None
    if own.outcome == "NotPromoted":
        return Verdict(False, own.reason)
    drawn = own.rival is not None and status.current is not None and status.current.run == own.rival
    return Verdict(True, own.reason) if drawn else None


def _promote(standing: Standing, version: ModelVersion) -> Standing:
    """Put a version in front of the history."""
    status = standing.status
    candidate = None if status.candidate and status.candidate.run == version.run else status.candidate
    changes = {"history": [version, *status.history], "candidate": candidate}
    return replace(standing, status=status.model_copy(update=changes))


def _stand_for(standing: Standing, version: ModelVersion | None) -> Standing:
    """Let the name stand for a version; what it stood for before is one step back."""
    status = standing.status
    if version is None or (status.current and status.current.run == version.run):
        return standing
    before = f" It takes the place of {status.current.run}." if status.current else ""
    note = Note("Promoted", f"{version.run} is the current version.{before}", key=version.run)
    changes = {"current": version, "previous": status.current}
    return replace(standing, status=status.model_copy(update=changes), notes=(*standing.notes, note))


def _told(standing: Standing, offer: Offer, outcome: str, reason: str) -> Standing:
    """Remember that a run was looked at."""
    version = offer.version
    looked = Consideration(
        run=version.run,
        job=offer.job.metadata.name,
        completed_at=version.promoted_at,
        outcome=outcome,  # type: ignore[arg-type]
        message=reason[:LONGEST_MESSAGE],
    )
    status = standing.status.model_copy(update={"considered": [looked, *standing.status.considered]})
    told = () if outcome == "Promoted" else (_note(looked),)
    return replace(standing, status=status, notes=(*standing.notes, *told))


def _note(looked: Consideration) -> Note:
    if looked.outcome == "Candidate":
        text = f"{looked.run} waits for a person's word: set spec.pin to it to promote it. {looked.message}"
        return Note("CandidateWaits", text, key=looked.run)
    return Note("NotPromoted", f"{looked.run} is not promoted. {looked.message}", type="Warning", key=looked.run)
