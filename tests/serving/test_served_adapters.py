"""Adapters that come, go, are replaced or broken while pictures are asked for, and what /ready says of it."""

import threading
from pathlib import Path

import numpy as np
import pytest

from diptych_api.servingconfig import RegistryConfig
from support.adapters import saved_adapter
from support.http_requests import DEFAULTS, DOG, post
from support.services import Served, picture_of, served
from support.tiny_models import make_pipeline

pytestmark = pytest.mark.slow


def test_a_broken_adapter_never_gives_a_base_picture_under_its_name(service: Served) -> None:
    reply = post(service, "/v1/compare", DOG)
    base, _, gone = reply["images"]
    assert gone["image"] != ""
    assert np.array_equal(picture_of(gone["image"]), picture_of(base["image"]))
    assert gone["adapter"] is None
    assert gone["requested_adapter"] == "gone"
    assert "There is no /nowhere on this machine." in gone["degraded"]


def test_ready_tells_of_adapters_that_have_finally_failed(service: Served) -> None:
    answer = service.client.get("/ready")
    assert answer.status_code == 200
    states = {name: adapter["state"] for name, adapter in answer.json()["adapters"].items()}
    assert states == {"style": "Loaded", "gone": "Failed"}


def test_nothing_is_ready_before_the_base(base: Path) -> None:
    with served(base) as service:
        assert service.client.get("/health").status_code == 200
        assert service.client.get("/ready").status_code == 503
        answer = service.client.post("/v1/generate", json=DOG)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["reason"] == "Loading"


def test_adapters_come_and_go_while_the_engine_stays(service: Served, style: Path) -> None:
    engine = service.engine
    service.configure(adapters=[{"name": "renamed", "uri": str(style)}], defaults=DEFAULTS)
    assert list(engine.bank.loaded) == ["renamed"]
    assert [model["id"] for model in service.client.get("/v1/models").json()["data"]] == ["tiny", "renamed"]
    assert service.client.post("/v1/generate", json={**DOG, "adapter": "style"}).status_code == 404
    service.configure(adapters=[], defaults=DEFAULTS)
    assert not engine.bank.loaded


def test_an_adapter_with_another_digest_is_refused_by_name(service: Served, style: Path) -> None:
    adapter = {"name": "style", "uri": str(style), "digest": "sha256:" + "0" * 64}
    service.configure(adapters=[adapter], defaults=DEFAULTS)
    state = service.client.get("/ready").json()["adapters"]["style"]
    assert state["state"] == "Failed"
    assert "has digest sha256:" in state["message"]
    assert not service.engine.bank.loaded


def test_an_adapter_for_another_base_is_refused_by_name(service: Served, tmp_path: Path) -> None:
    other = saved_adapter(tmp_path / "other", make_pipeline(tmp_path / "another", seed=5))
    service.configure(adapters=[{"name": "other", "uri": str(other)}], defaults=DEFAULTS)
    assert "another base" in service.client.get("/ready").json()["adapters"]["other"]["message"]


def test_a_store_that_fails_for_a_moment_is_asked_again(base: Path, style: Path) -> None:
    calls = []

    def fetch(_: str) -> Path:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("the store is away")
        return style

    with served(base, fetch=fetch) as service:
        service.configure(adapters=[{"name": "style", "uri": "s3://somewhere"}])
        assert service.keeper.facts["style"].state == "Loaded"


def test_a_deployment_without_engines_says_so(base: Path) -> None:
    with served(base) as service:
        service.service.directory.config = RegistryConfig(replicas=0)
        told = "The deployment has no engine replicas: spec.replicas is 0."
        ready = service.client.get("/ready")
        assert (ready.status_code, ready.json()["notes"]) == (503, [told])
        answer = service.client.post("/v1/generate", json=DOG)
        assert (answer.status_code, answer.json()["reason"], answer.json()["detail"]) == (503, "NoReplicas", told)
        assert answer.headers["retry-after"] == "60"


def test_what_keeps_engines_from_starting_is_told(base: Path) -> None:
    with served(base) as service:
        service.service.directory.notes = ["No GPU is free."]
        assert service.client.get("/ready").json()["notes"] == ["No GPU is free."]
        answer = service.client.post("/v1/generate", json=DOG)
        assert answer.json()["detail"] == "The base is not loaded yet. No GPU is free."


def test_an_adapter_that_is_replaced_is_served_until_the_new_one_is_there(
    base: Path, style: Path, tmp_path: Path
) -> None:
    other, may_load, asked = saved_adapter(tmp_path / "other", base, seed=2), threading.Event(), threading.Event()

    def fetch(uri: str) -> Path:
        if uri == "new":
            asked.set()
            assert may_load.wait(60)
            return other
        return style

    with served(base, fetch=fetch) as service:
        service.configure(adapters=[{"name": "style", "uri": "old"}], defaults=DEFAULTS)
        body = {**DOG, "adapter": "style"}
        old = post(service, "/v1/generate", body)["images"][0]["adapter_digest"]
        new = {"adapters": [{"name": "style", "uri": "new"}], "defaults": DEFAULTS}
        thread = threading.Thread(target=lambda: service.configure(**new))
        thread.start()
        assert asked.wait(60)
        assert post(service, "/v1/generate", body)["images"][0]["adapter_digest"] == old
        may_load.set()
        thread.join()
        assert post(service, "/v1/generate", {**DOG, "adapter": "style"})["images"][0]["adapter_digest"] not in {
            None,
            old,
        }


def test_an_adapter_that_has_failed_stays_failed_while_it_is_tried_again(service: Served, style: Path) -> None:
    adapters = [{"name": "style", "uri": str(style)}, {"name": "gone", "uri": "/nowhere"}]
    service.configure(adapters=adapters, defaults=DEFAULTS, examples=["owl"])
    assert service.keeper.facts["gone"].state == "Failed"
    service.configure(adapters=[{"name": "style"}], defaults=DEFAULTS)
    assert service.keeper.facts["style"].state == "Waiting"
    assert not service.engine.bank.loaded
