"""A deployment that follows its load: a second engine comes and goes, and none is held while nobody asks."""

from collections.abc import Iterator

import httpx2
import pytest

from e2e.deployments import deployment
from e2e.load import Load
from e2e.shell import Shell
from support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
ENGINES = "pods -l diptych.dev/deployment=scaled,ray.io/node-type=worker"
QUICK = {"targetOngoingRequests": 1, "scaleUpAfterSeconds": 2, "scaleDownAfterSeconds": 20}
TINY = {"spec": {"containers": [{"name": "ray", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}]}}
READY = '.items[*].status.containerStatuses[?(@.name=="ray")].ready'


@pytest.fixture(scope="module")
def scaled(shared_shell: Shell) -> Iterator[tuple[Shell, str]]:
    """Yield a deployment with one or two engines, and where it listens."""
    shell = shared_shell
    shell.apply(deployment("scaled", adapters=None, autoscaling=QUICK | {"min": 1, "max": 2}, pods={"template": TINY}))
    shell("kubectl wait diffusiondeployment/scaled --for=condition=Ready --timeout=8m", timeout_s=500)
    with shell.forwarded("service/scaled-images", 8000) as (http,):
        yield shell, f"http://127.0.0.1:{http}"
    shell("kubectl delete diffusiondeployment/scaled --wait")


def test_load_brings_a_second_engine_and_quiet_takes_it_away(scaled: tuple[Shell, str]) -> None:
    shell, url = scaled
    with Load(url, None, clients=4, steps=150) as load:
        until(lambda: shell.told(ENGINES, READY).split() == ["true", "true"], 300, every_s=1)
    assert load.answered
    assert not load.failed
    until(lambda: shell.told(ENGINES, READY).split() == ["true"], 400, every_s=1)
    shell("kubectl get diffusiondeployment scaled")


def test_none_is_held_while_nobody_asks_and_the_first_who_asks_waits_for_one(scaled: tuple[Shell, str]) -> None:
    shell, url = scaled
    none = '{"spec": {"autoscaling": {"min": 0, "scaleToZeroAfterSeconds": 5}}}'
    shell(f"kubectl patch diffusiondeployment scaled --type merge -p '{none}'")
    until(lambda: shell.told(ENGINES, ".items[*].metadata.name") == "", 400, every_s=1)
    answer = httpx2.post(f"{url}/v1/generate", json={"prompt": "red apple", "seed": 7}, timeout=300)
    assert answer.status_code == httpx2.codes.OK, answer.text
    assert shell.told(ENGINES, ".items[*].metadata.name") != ""
