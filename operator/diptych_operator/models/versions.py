"""The versions that jobs offer: finished runs with an artifact that was checked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from diptych_api.diffusionmodel import RUN_PATTERN, DiffusionModelStatus, ModelVersion
from diptych_api.finetunejob import FineTuneJob
from diptych_api.runstore import run_name
from diptych_operator.models.gates import gated_first

EPOCH: Final = datetime.min.replace(tzinfo=UTC)
MOST_FIGURES: Final = 64


@dataclass(frozen=True, slots=True)
class Offer:
    """A finished run of a job. Its version's time is when it was done, until it is promoted."""

    job: FineTuneJob
    version: ModelVersion

    @property
    def order(self) -> tuple[datetime, str]:
        """Return its place among all: by the time it was done, then by name."""
        return self.version.promoted_at, self.version.run


def offers(model: str, jobs: Iterable[FineTuneJob]) -> list[Offer]:
    """Return what jobs offer to a model, the one that was done first in front."""
    found = (_offer(job) for job in jobs if job.spec.promotion and job.spec.promotion.model == model)
    return sorted((offer for offer in found if offer is not None), key=lambda offer: offer.order)


def run_of(job: FineTuneJob) -> str:
    """Return the name of a job's run: the last part of its folder, as the program that trained says it."""
    last = (job.status.run or "").rstrip("/").rpartition("/")[2]
    return last if re.fullmatch(RUN_PATTERN, last) else run_name(job.metadata.name, job.spec)


def known_versions(status: DiffusionModelStatus) -> dict[str, ModelVersion]:
    """Return the versions that a status remembers, by run."""
    alone = [version for version in (status.candidate, status.previous, status.current) if version is not None]
    return {version.run: version for version in [*alone, *status.history]}


def _offer(job: FineTuneJob) -> Offer | None:
    status = job.status
    if status.phase != "Succeeded" or status.artifact is None:
        return None
    version = ModelVersion(
        run=run_of(job),
        job=job.metadata.name,
        uri=status.artifact.uri,
        digest=status.artifact.digest,
        metrics=gated_first(job.spec.promotion, status.evaluation)[:MOST_FIGURES],
        promoted_at=status.completion_time or EPOCH,
    )
    return Offer(job, version)
