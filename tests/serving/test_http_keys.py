"""API keys over HTTP: who may ask for what."""

import json
from pathlib import Path

import pytest

from support.http_keys import KEYED, bearer, key
from support.http_requests import DOG
from support.services import served

pytestmark = pytest.mark.slow


def test_with_keys_only_their_owners_may_ask(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_API_KEYS", json.dumps([key("anna", "generate", "compare"), key("berta", "generate")]))
    with served(base) as service:
        service.configure(**KEYED)
        ask = service.client.post
        assert ask("/v1/generate", json=DOG, headers=bearer("anna")).status_code == 200
        assert ask("/v1/generate", json=DOG, headers=bearer("berta")).status_code == 200
        assert (
            ask("/v1/compare", json=DOG, headers=bearer("berta")).json()["detail"] == "The API key is not for compare."
        )
        for headers in ({}, bearer("anne"), bearer(""), {"Authorization": "anna"}):
            for path in ("/v1/generate", "/v1/compare", "/v1/images/generations", "/infer", "/generate/"):
                assert ask(path, json={"prompt": "a dog"}, headers=headers).status_code in {401, 503}, path
            assert ask("/v1/generate", json=DOG, headers=headers).status_code == 401
        for path in ("/v1/models", "/v1/limits", "/v1/examples"):
            assert [service.client.get(path, headers=bearer(name)).status_code for name in ("berta", "anne")] == [
                200,
                401,
            ]
            assert service.client.get(path).json()["detail"] == "There is no API key."
        for path in ("/health", "/ping", "/ready", "/openapi.json"):
            assert service.client.get(path).status_code == 200


def test_the_document_tells_where_a_key_is_asked_for(base: Path) -> None:
    with served(base) as service:
        document = service.client.get("/openapi.json").json()
        asked = {path for path, methods in document["paths"].items() if "security" in next(iter(methods.values()))}
        assert document["paths"].keys() - asked == {"/health", "/metrics", "/metrics-lite", "/ping", "/ready"}
        assert document["components"]["securitySchemes"]["APIKey"]["scheme"] == "bearer"


@pytest.mark.parametrize(
    "held", [None, "", "[]", "{}", '[{"name": "anna", "sha256": "anna"}]', '[{"name": "a", "key": "secret"}]']
)
def test_keys_that_cannot_be_read_let_nobody_in_and_are_not_shown(
    base: Path, monkeypatch: pytest.MonkeyPatch, held: str | None
) -> None:
    monkeypatch.delenv("TEST_API_KEYS", raising=False)
    if held is not None:
        monkeypatch.setenv("TEST_API_KEYS", held)
    with served(base) as service:
        service.configure(**KEYED)
        answer = service.client.post("/v1/generate", json=DOG, headers=bearer("anna"))
        assert answer.status_code == 503
        assert "TEST_API_KEYS" in answer.json()["detail"]
        assert "secret" not in answer.text
