"""FineTuneReport: what the head pod of a job says of the run. The operator copies it into the job's status."""

from typing import Literal

from pydantic import Field

from diptych_api.report import Report
from diptych_api.resource import Resource


class FineTuneReport(Resource):
    """Progress of a running job, written by its head pod. Internal: read the status of the FineTuneJob instead."""

    kind: Literal["FineTuneReport"] = Field(default="FineTuneReport", description="Kind of the object.")
    spec: Report = Field(description="The state of the run.")
