"""New pods beside the old ones: a deployment whose pods change while a client in the cluster goes on asking."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.deployments import deployment
from e2e.pods import container, pod
from e2e.shell import Shell
from support.waiting import until

if TYPE_CHECKING:
    from cluster.node.access import Access

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
CLIENT = (Path(__file__).parent / "asking.py").read_text(encoding="utf-8")
CLUSTERS = "rayclusters -l ray.io/originated-from-cr-name=green-serve"
NAMES = ".items[*].metadata.name"
MORE_MEMORY = '{"spec": {"resources": {"memory": "3200Mi"}}}'


@pytest.fixture
def asked(shell: Shell, node: "Access") -> Iterator[Shell]:
    """Yield a shell beside a deployment that a pod of the same namespace asks for pictures."""
    shell.apply(deployment("green", adapters=None))
    shell("kubectl wait diffusiondeployment/green --for=condition=Ready --timeout=8m", timeout_s=500)
    asking = ("python", "-c", CLIENT, "green-images", "8000")
    shell.apply(pod("client", container("client", node.images.ray, asking, ("64Mi", "256Mi")), restartPolicy="Never"))
    shell("kubectl wait pod/client --for=condition=Ready --timeout=2m", timeout_s=150)
    until(lambda: len(answers(shell)) > 1, 120, every_s=1)
    yield shell
    shell("kubectl delete diffusiondeployment/green pod/client --wait")


def test_no_request_fails_while_other_pods_take_over(asked: Shell) -> None:
    old = asked.told(CLUSTERS, NAMES)
    asked(f"kubectl patch diffusiondeployment green --type merge -p '{MORE_MEMORY}'")
    until(lambda: len(asked.told(CLUSTERS, NAMES).split()) == 2, 60, every_s=1)
    asked("kubectl get diffusiondeployment green")
    until(
        lambda: asked.told(CLUSTERS, NAMES) not in (old, "") and old not in asked.told(CLUSTERS, NAMES), 600, every_s=1
    )
    asked("kubectl wait diffusiondeployment/green --for=condition=Ready --timeout=2m", timeout_s=150)
    before = len(answers(asked))
    until(lambda: len(answers(asked)) > before + 1, 120, every_s=1)
    assert [line for line in answers(asked) if "failed" in line] == []


def answers(shell: Shell) -> list[str]:
    """Return what the client has said, one line for each answer or failure."""
    return shell.quietly("kubectl logs client --tail=-1").splitlines()
