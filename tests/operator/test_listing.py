"""A list of a kind is told from everything else that kopf asks for."""

import pytest

from diptych_operator import kinds
from diptych_operator.kinds import Kind
from diptych_operator.listing import kind_at
from diptych_operator.watching import watches

WATCHED = [watch.kind for watch in watches(gateway_api=False)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/apis/ray.io/v1/rayjobs", kinds.RAY_JOB),
        ("/apis/ray.io/v1/namespaces/art/rayjobs", kinds.RAY_JOB),
        ("/api/v1/pods", kinds.POD),
        ("/api/v1/namespaces/pods/serviceaccounts", kinds.SERVICE_ACCOUNT),
        ("/apis/other.io/v1/rayjobs", None),
        ("/apis/ray.io/v1/namespaces/art/rayjobs/noto", None),
        ("/apis/ray.io/v1", None),
        ("/api/v1/namespaces", None),
    ],
)
def test_a_list_is_known_by_its_path(path: str, kind: Kind | None) -> None:
    assert kind_at(path, WATCHED) == kind
