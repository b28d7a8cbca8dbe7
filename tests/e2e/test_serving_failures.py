"""Deployments that cannot start: why, and what to do, stands in their status, and the next try needs no clearing up."""

import pytest

from e2e.deployments import deployment
from e2e.jobs import workspace
from e2e.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
NOWHERE = "localhost/diptych/nowhere:1"
READY = '.status.conditions[?(@.type=="Ready")]'
TAKEN = ".items[*].status.containerStatuses[0].state.waiting.reason"
SOON_S = 10


def test_an_image_that_is_not_there(shell: Shell) -> None:
    shell.apply(deployment("image", adapters=None, pods={"image": NOWHERE}))
    shell.wait_any("pods -l diptych.dev/deployment=image", TAKEN, ("ErrImagePull", "ImagePullBackOff"))
    shell.wait("diffusiondeployment/image", f"{READY}.reason", "ImagePull", SOON_S)
    told = shell.told("diffusiondeployment/image", f"{READY}.message")
    assert NOWHERE in told
    assert "pods.image" in told
    shell("kubectl get diffusiondeployment image")
    shell("kubectl delete diffusiondeployment/image")


def test_a_base_that_is_not_there_and_then_another(shell: Shell) -> None:
    shell.apply(workspace())
    nowhere = {"builtin": None, "pvc": {"claimName": "diptych-workspace", "path": "bases/nowhere"}}
    shell.apply(deployment("nobase", adapters=None, base=nowhere))
    shell.wait("diffusiondeployment/nobase", ".status.phase", "Failed", 600)
    assert shell.told("diffusiondeployment/nobase", ".status.lastFailure.reason") == "BaseInvalid"
    told = shell.told("diffusiondeployment/nobase", ".status.lastFailure.message")
    assert told.startswith("The base /mnt/claims/diptych-workspace/bases/nowhere is not a folder")
    assert "spec.base" in shell.told("diffusiondeployment/nobase", ".status.lastFailure.hint")
    shell("kubectl get diffusiondeployment nobase")
    shell("kubectl get diffusiondeployment nobase -o jsonpath='{.status.lastFailure}'")
    shell.apply(deployment("nobase", adapters=None))
    shell("kubectl wait diffusiondeployment/nobase --for=condition=Ready --timeout=8m", timeout_s=500)
    shell("kubectl delete diffusiondeployment/nobase")
