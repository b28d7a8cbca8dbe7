"""What a reviewer of manifests, kube-score, says of the chart; where we decided otherwise, it stands here with why."""

import subprocess
from pathlib import Path

import pytest

from cluster.tools import find
from support.helm import CHART, helm, value_sets

pytestmark = pytest.mark.integration

DECIDED = {
    "deployment-replicas": "one replica writes; a second one is a choice, not a need",
    "deployment-strategy": "Recreate: two versions never take turns with the Lease",
    "container-image-pull-policy": "images are named by version or digest; Always asks the registry at every start",
}
OPTIONAL = ["container-ports-check", "container-seccomp-profile"]
WITH_ONE_REPLICA = ["defaults", "namespaced", "restricted-network"]


@pytest.mark.parametrize("name", WITH_ONE_REPLICA)
def test_kube_score_finds_only_what_was_decided(name: str) -> None:
    text = helm("template", "diptych", CHART, "--set", "crds.enabled=false", values=value_sets()[name])
    flags = [flag for check in DECIDED for flag in ("--ignore-test", check)]
    flags += [flag for check in OPTIONAL for flag in ("--enable-optional-test", check)]
    # No limit of CPU: it would slow reactions.
    flags += ["--ignore-container-cpu-limit", "--exit-one-on-warning", "--kubernetes-version", "v1.36", "-"]
    command: list[str | Path] = [find("kube-score"), "score", *flags]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
