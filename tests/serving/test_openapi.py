"""Whatever the OpenAPI document allows, and much that it does not, gets an answer of the document, never a 5xx."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from support.adapters import saved_adapter
from support.services import Served, served
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.fuzz
CASES = 210
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
OPERATIONS = [
    ("post", "/v1/generate"),
    ("post", "/v1/compare"),
    ("post", "/v1/grids"),
    ("post", "/v1/jobs"),
    ("get", "/v1/jobs/{name}"),
    ("delete", "/v1/jobs/{name}"),
    ("get", "/v1/jobs/{name}/events"),
    ("post", "/v1/images/generations"),
    ("post", "/infer"),
    ("post", "/generate/"),
    ("post", "/v1/adapters"),
    ("delete", "/v1/adapters/{name}"),
    ("get", "/health"),
    ("get", "/ping"),
    ("get", "/ready"),
    ("get", "/metrics"),
    ("get", "/metrics-lite"),
    ("get", "/v1/deployment"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{name}"),
    ("get", "/v1/limits"),
    ("get", "/v1/examples"),
]
LIMITS = {"maxSteps": 3, "maxPixels": 4096, "maxImages": 2, "minSide": 8, "maxArms": 2}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    base = make_pipeline(tmp_path_factory.mktemp("base"))
    adapter = saved_adapter(tmp_path_factory.mktemp("style"), base)
    with served(base) as service:
        defaults = {"steps": 2, "guidanceScale": 2}
        service.configure(adapters=[{"name": "style", "uri": str(adapter)}], defaults=defaults, limits=LIMITS)
        yield service


@pytest.mark.parametrize("method_and_path", OPERATIONS)
def test_every_answer_is_one_that_the_document_names(service: Served, method_and_path: tuple[str, str]) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", service.client.app)
    method, path = method_and_path
    cases = schema[path][method].as_strategy()

    @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=cases)
    def every(case: Case[Any]) -> None:
        session: Any = service.client
        case.validate_response(case.call(session=session, timeout=120), checks=CHECKS)

    every()


def test_all_operations_are_tried(service: Served) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == {*OPERATIONS}
