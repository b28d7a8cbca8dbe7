"""What a job's status tells people while it trains. No plan waits for it: every report would wake its job twice."""

from typing import Any, Final

from diptych_operator.kinds import FINE_TUNE_JOB, Manifest

PASSING: Final = frozenset({"progress", "columns", "checkpoint", "gpuSeconds"})


def differ_in_passing(old: Manifest, new: Manifest) -> bool:
    """Whether two versions of a job differ in nothing but what passes."""
    return new["kind"] == FINE_TUNE_JOB.kind and _lasting(old) == _lasting(new)


def _lasting(job: Manifest) -> tuple[Any, ...]:
    status = {name: part for name, part in (job.get("status") or {}).items() if name not in PASSING}
    return {**job["metadata"], "resourceVersion": ""}, job.get("spec"), status
