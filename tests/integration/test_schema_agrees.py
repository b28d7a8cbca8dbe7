"""The API server and the models say the same of any resource: what it keeps, and what it fills in."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.control_plane import ControlPlane
from cluster.objects import Values
from cluster.rest import Refused
from diptych_api.kinds import KINDS
from diptych_api.wire import from_wire
from support.specs import resources

pytestmark = pytest.mark.integration
RANDOM = {kind: resources(model) for kind, model in KINDS.items()}
bounded = settings(
    max_examples=100, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
every_kind = pytest.mark.parametrize("kind", KINDS)


def dry_run(control_plane: ControlPlane, values: Values) -> Values:
    body = values | {"metadata": values["metadata"] | {"namespace": "default"}}
    path = control_plane.api.path(body).rpartition("/")[0]
    return control_plane.api.request("POST", path, body, dryRun="All", fieldValidation="Strict")


@every_kind
@bounded
@given(data=st.data())
def test_the_server_keeps_every_field_and_fills_in_what_the_model_does(
    control_plane: ControlPlane, kind: str, data: st.DataObject
) -> None:
    values = data.draw(RANDOM[kind])
    stored = dry_run(control_plane, values)
    ours = from_wire(KINDS[kind], values)
    theirs = from_wire(KINDS[kind], stored)
    assert theirs.spec == ours.spec


@every_kind
@bounded
@given(data=st.data())
def test_the_server_refuses_an_unknown_field_wherever_it_stands(
    control_plane: ControlPlane, kind: str, data: st.DataObject
) -> None:
    values = data.draw(RANDOM[kind])
    place = data.draw(st.sampled_from([values["spec"], *(v for v in values["spec"].values() if isinstance(v, dict))]))
    place["notAField"] = 1
    with pytest.raises(Refused, match="notAField"):
        dry_run(control_plane, values)
