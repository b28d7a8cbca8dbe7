"""Adapters that an administrator loads and unloads over HTTP, beside those of the deployment."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diptych_api.servingconfig import MOST_ADAPTERS, RegistryConfig, ServedAdapter, wire
from diptych_serving.refusals import Refused
from diptych_serving.registry import Registry
from support.http_keys import KEYED, bearer, key
from support.http_requests import DOG
from support.services import Served, served

pytestmark = pytest.mark.slow

ADMIN, USER = bearer("root"), bearer("anna")
AUTH = {**KEYED["auth"], "adminRoutes": True}


@pytest.fixture
def service(base: Path, style: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A service with the adapter ``own``, an administrator and a user."""
    monkeypatch.setenv("TEST_API_KEYS", json.dumps([key("root", "admin", "generate"), key("anna", "generate")]))
    with served(base) as service:
        service.configure(**{**KEYED, "auth": AUTH, "adapters": [{"name": "own", "uri": str(style)}]})
        yield service


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def add(service: Served, name: str, uri: Path, headers: dict[str, str] = ADMIN, **values: Any) -> Any:
    return service.client.post("/v1/adapters", json={"name": name, "uri": str(uri), **values}, headers=headers)


def take_away(service: Served, name: str, headers: dict[str, str] = ADMIN) -> Any:
    return service.client.delete(f"/v1/adapters/{name}", headers=headers)


def ids(service: Served) -> list[str]:
    return [model["id"] for model in service.client.get("/v1/models", headers=USER).json()["data"][1:]]


def test_an_adapter_that_is_added_draws_until_it_is_taken_away(service: Served, style: Path) -> None:
    answer = add(service, "new", style, strength=0.5)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["state"], answer.json()["strength"]) == ("Loaded", 0.5)
    drawn = service.client.post("/v1/generate", json={**DOG, "adapter": "new"}, headers=USER).json()
    assert (drawn["images"][0]["adapter"], drawn["images"][0]["strength"]) == ("new", 0.5)
    assert ids(service) == ["own", "new"]
    assert take_away(service, "new").status_code == 204
    assert ids(service) == ["own"]
    assert take_away(service, "new").json()["reason"] == "AdapterNotFound"


def test_one_that_fails_is_told_and_not_kept(service: Served, tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"no tensors")
    answer = add(service, "bad", tmp_path)
    assert (answer.status_code, answer.json()["reason"]) == (422, "AdapterInvalid")
    assert add(service, "gone", Path("/nowhere")).json()["detail"].startswith("There is no /nowhere")
    assert ids(service) == ["own"]


def test_the_deployments_own_stay_as_they_are(service: Served, style: Path) -> None:
    for answer in (add(service, "own", style), take_away(service, "own")):
        assert (answer.status_code, answer.json()["reason"]) == (409, "AdapterOfDeployment")
    assert ids(service) == ["own"]


def test_only_administrators_may_and_only_where_the_deployment_lets_them(service: Served, style: Path) -> None:
    assert add(service, "new", style, USER).json()["detail"] == "The API key is not for admin."
    assert add(service, "new", style, {}).status_code == 401
    assert take_away(service, "own", USER).status_code == 403
    for config in (KEYED, {"defaults": KEYED["defaults"]}):
        service.configure(**config)
        assert add(service, "new", style).json()["reason"] == "AdminRoutesDisabled"
        assert take_away(service, "new").status_code == 404
    assert not service.engine.bank.loaded


def test_a_change_of_the_deployment_keeps_what_was_added_and_wins(service: Served, style: Path) -> None:
    add(service, "new", style, strength=0.5)
    own = {"name": "own", "uri": str(style)}
    service.configure(**{**KEYED, "auth": AUTH, "adapters": [own], "examples": ["owl"]})
    assert ids(service) == ["own", "new"]
    service.configure(**{**KEYED, "auth": AUTH, "adapters": [own, {"name": "new", "uri": str(style)}]})
    drawn = service.client.post("/v1/generate", json={**DOG, "adapter": "new"}, headers=USER).json()
    assert drawn["images"][0]["strength"] == 1
    service.configure(**{**KEYED, "adapters": [own]})
    service.configure(**{**KEYED, "auth": AUTH, "adapters": [own]})
    assert ids(service) == ["own"]


@pytest.mark.anyio
async def test_no_more_are_taken_than_a_deployment_may_have() -> None:
    registry = Registry()
    await registry.reconfigure(wire(RegistryConfig.model_validate({"auth": AUTH})))
    for number in range(MOST_ADAPTERS):
        await registry.add(ServedAdapter(name=f"a{number}", uri="/x"))
    await registry.add(ServedAdapter(name="a0", uri="/y"))
    with pytest.raises(Refused, match="There are 64 adapters already"):
        await registry.add(ServedAdapter(name="b", uri="/x"))
