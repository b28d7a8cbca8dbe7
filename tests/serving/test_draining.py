"""A deployment that ends draws everything that it has let in, and sends others away."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.services import Served, served
from support.tiny_models import make_pipeline
from support.waiting import until

pytestmark = pytest.mark.slow

GRID = {"prompts": ["a dog"], "seeds": list(range(10)), "arms": [{}], "steps": 30}


def end(service: Served) -> None:
    portal = service.client.portal
    assert portal is not None
    portal.call(service.jobs.close)


def test_jobs_and_requests_of_many_pictures_come_to_their_end(tmp_path: Path) -> None:
    with served(make_pipeline(tmp_path)) as service, ThreadPoolExecutor(2) as pool:
        service.configure()
        client = service.client
        job = client.post("/v1/jobs", json={"grid": GRID}).headers["location"]
        request = pool.submit(client.post, "/v1/grids", json=GRID)
        until(lambda: client.get(job).json()["step"] > 0)
        ended = pool.submit(end, service)
        until(lambda: client.get("/ready").status_code == 503)
        late = client.post("/v1/generate", json={"prompt": "a dog"})
        assert (late.status_code, late.json()["reason"], late.headers["retry-after"]) == (503, "Draining", "5")
        assert client.post("/v1/jobs", json={"grid": GRID}).json()["reason"] == "Draining"
        assert client.get("/health").status_code == 200
        ended.result(60)
        assert client.get(job).json()["state"] == "Succeeded"
        assert len(request.result(60).json()["rows"]) == len(client.get(job).json()["result"]["rows"]) == 10


def test_what_has_nothing_to_draw_ends_at_once(tmp_path: Path) -> None:
    with served(make_pipeline(tmp_path)) as service:
        end(service)
        assert service.client.get("/ready").status_code == 503
