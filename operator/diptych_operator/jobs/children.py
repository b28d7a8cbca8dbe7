"""The children of a job, as they should be."""

from diptych_operator.child import Child, settle
from diptych_operator.jobs.turn import Turn
from diptych_operator.kinds import Manifest, ref_of
from diptych_operator.manifests.accounts import accounts
from diptych_operator.manifests.job_policy import job_policy
from diptych_operator.plan import Action


def shared_children(turn: Turn) -> tuple[Action, ...]:
    """Return what brings accounts and NetworkPolicy to where a job's pods need them.

    The policy stays what it was when it was made, so that a newer operator leaves running jobs alone.
    """
    found = {child.ref: child for child in turn.seen.accounts}
    made = [settle(found.get(ref_of(wanted)), wanted) for wanted in accounts(turn.job.metadata.namespace or "")]
    policy = turn.seen.policy
    if policy.drifted if policy is not None else turn.defaults.network_policies:
        wanted = (policy.applied if policy else None) or job_policy(turn.job, turn.defaults)
        made.append(settle(policy, wanted, known=turn.status.attempt > 0))
    return tuple(action for actions in made for action in actions)


def ray_job_with(turn: Turn, found: Child) -> Manifest | None:
    """Return the manifest that a RayJob was made with, with the time to live of now.

    None where it is as it should be, or where that manifest is lost.
    """
    applied = found.applied
    ttl = turn.job.spec.ttl_seconds_after_finished or 0
    if applied is None or (not found.drifted and applied["spec"].get("ttlSecondsAfterFinished") == ttl):
        return None
    return {**applied, "spec": {**applied["spec"], "ttlSecondsAfterFinished": ttl}}
