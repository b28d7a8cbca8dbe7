"""Which plan belongs to what is seen."""

from datetime import datetime

from diptych_operator.defaults import Defaults
from diptych_operator.deployments.plan import plan as plan_deployment
from diptych_operator.jobs.plan import plan as plan_job
from diptych_operator.models.plan import plan as plan_model
from diptych_operator.observed import DeploymentSeen, JobSeen, ModelSeen
from diptych_operator.plan import Plan


def plan(seen: JobSeen | DeploymentSeen | ModelSeen, defaults: Defaults, now: datetime) -> Plan | None:
    """Return what is to be done; None when somebody else manages the resource."""
    match seen:
        case JobSeen():
            return plan_job(seen, defaults, now)
        case DeploymentSeen():
            return plan_deployment(seen, defaults, now)
        case ModelSeen():
            return plan_model(seen, defaults, now)
