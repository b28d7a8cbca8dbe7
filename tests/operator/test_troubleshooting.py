"""docs/troubleshooting.md has an entry for every reason that people can see, and no other."""

import re
from pathlib import Path

from diptych_api import errors
from diptych_api.errors import DiptychError
from diptych_operator.deployments import troubles
from diptych_operator.jobs.failures import FAILURES
from diptych_operator.pod_failures import HINTS

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
STATES = {
    "AdapterFailed",
    "AdapterWaiting",
    "Candidate",
    "DryRun",
    "NameTaken",
    "NoModel",
    "NoVersion",
    "NotPromoted",
    "Offered",
    "PinMissing",
    "PublisherFailed",
    "RayJobSuspended",
    "Refused",
    "Superseded",
    "WaitingForKubeRay",
    "WaitingForQuota",
}
"""Reasons of conditions that stand in the code where they are said."""


def named_errors(kind: type[DiptychError] = DiptychError) -> set[str]:
    """Return the names of the errors of the API that nothing is derived from there."""
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    return set().union(*map(named_errors, below)) if below else {kind.__name__}


def test_every_reason_has_an_entry_and_every_entry_is_a_reason() -> None:
    entries = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(entries) == sorted(named_errors() | {*FAILURES, *HINTS, *troubles.HINTS} | STATES)
