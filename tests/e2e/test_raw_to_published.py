"""A folder as people find it, on a claim: cleaned, captioned, learned from, promoted, published."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from cluster.object_server import KEYS
from cluster.objects import Values, reference
from e2e.jobs import LITTLE, merged, workspace
from e2e.shell import ROOT, Shell
from e2e.store import BUCKET, PORT, object_store
from e2e.volume import keeper

if TYPE_CHECKING:
    from cluster.node.access import Access

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
RAW = "examples/layouts/raw"
PLACE = f"s3://{BUCKET}/published/raw-emoji"
COPY = """
import pathlib, sys
from diptych_diffusion.object_store import file_system
store, place = file_system(sys.argv[1])
for name in store.find(place):
    file = pathlib.Path(sys.argv[2]) / name.removeprefix(place + "/")
    file.parent.mkdir(parents=True, exist_ok=True)
    store.get_file(name, file)
"""
STORE = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")


def job() -> Values:
    """Return the example, published to the store of the cluster, with less than it asks for."""
    example: Values = yaml.safe_load((ROOT / "examples/raw-to-published.yaml").read_text(encoding="utf-8"))
    variables = [{"name": name, "valueFrom": {"name": "store", "key": name}} for name in STORE]
    pods = {"template": LITTLE, "env": variables}
    changes: Values = {"publish": {"uri": PLACE}, "resources": {"memoryPerWorker": "3Gi", "pods": pods}}
    return example | {"spec": merged(example["spec"], changes | {"retry": {"backoffLimit": 0}})}


def test_a_raw_folder_becomes_a_promoted_and_published_adapter(shell: Shell, node: "Access", tmp_path: Path) -> None:
    shell.apply(*object_store(node.load_versitygw(), node.images.busybox), workspace(), keeper(node.images.busybox))
    shell("kubectl wait pod/store pod/keeper --for=condition=Ready --timeout=60s")
    shell(f"kubectl exec keeper -- mkdir -p /store/{Path(RAW).parent}")
    shell(f"kubectl cp {RAW} keeper:/store/{RAW}")
    shell.apply(reference("diptych.dev/v1alpha1", "DiffusionModel", "raw-emoji"), job())
    shell("kubectl wait finetunejob/raw-emoji --for=condition=Succeeded --timeout=12m", timeout_s=750)
    shell("kubectl wait finetunejob/raw-emoji --for=condition=Published --timeout=4m", timeout_s=270)
    shell("kubectl get finetunejobs,diffusionmodels")
    run = shell.told("finetunejob/raw-emoji", ".status.run")
    assert shell.told("diffusionmodel/raw-emoji", ".status.current.run") == run.rpartition("/")[2]
    assert json.loads(shell.told("finetunejob/raw-emoji", ".status.published")) == [PLACE]
    shell(f"kubectl cp keeper:/store/{run.partition('runs/')[1]}{run.partition('runs/')[2]} {tmp_path / 'run'}")
    assert len((tmp_path / "run/manifest/dropped.jsonl").read_text().splitlines()) == 3
    assert len((tmp_path / "run/manifest/rejected.jsonl").read_text().splitlines()) == 1
    assert "Offered to raw-emoji." in (tmp_path / "run/evaluation/report.html").read_text()
    with shell.forwarded("pod/store", PORT) as (store,):
        variables = " ".join(f"{name}={value}" for name, value in KEYS.items())
        there = f"{variables} AWS_ENDPOINT_URL=http://127.0.0.1:{store}"
        shell(f"{there} python -c '{COPY}' {PLACE} {tmp_path / 'published'}")
    shell(f"cd {tmp_path / 'published'} && sha256sum --quiet -c SHA256SUMS")
    shell(f'diptych generate "red apple" --adapter {tmp_path / "published"} --seed 7 -o {tmp_path / "apple.png"}')
    assert (tmp_path / "apple.png").stat().st_size
    shell("kubectl delete finetunejob/raw-emoji --wait")
