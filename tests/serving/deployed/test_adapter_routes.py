"""An adapter that is added over HTTP is on every engine, and no engine restarts."""

from pathlib import Path

import pytest

from support.http_keys import KEYED, bearer
from support.real_deployment import DOG, Deployment, engines

pytestmark = [pytest.mark.deployed, pytest.mark.timeout(600)]
ROOT = bearer("root")


def test_it_comes_to_all_engines_and_goes(deployment: Deployment, style: tuple[Path, Path]) -> None:
    before, client = engines(), deployment.client
    deployment.follow(auth={**KEYED["auth"], "adminRoutes": True})
    deployment.until(lambda answer: answer.status_code == 401, "/v1/models")
    try:
        new = {"name": "new", "uri": str(style[1])}
        answer = client.post("/v1/adapters", json=new, headers=ROOT)
        assert (answer.status_code, answer.json()["state"]) == (201, "Loaded"), answer.text
        drawn = [client.post("/v1/generate", json={**DOG, "adapter": "new"}, headers=ROOT).json() for _ in range(4)]
        assert [reply["images"][0]["degraded"] for reply in drawn] == [None] * 4
        taken = client.post("/v1/adapters", json={**new, "name": "style"}, headers=ROOT)
        assert (taken.status_code, taken.json()["reason"]) == (409, "AdapterOfDeployment")
        assert client.delete("/v1/adapters/new", headers=ROOT).status_code == 204
        deployment.until(lambda answer: "new" not in answer.json()["adapters"], "/ready")
    finally:
        deployment.follow()
        deployment.until(lambda answer: answer.status_code == 200, "/v1/models")
    assert engines() == before
