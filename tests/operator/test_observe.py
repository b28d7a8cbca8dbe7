"""What one plan sees of the store: this very resource, and not what an earlier one of its name left behind."""

from typing import Any

import pytest

from diptych_api import names
from diptych_operator import kinds
from diptych_operator.kinds import Kind, Ref
from diptych_operator.observe import observe
from diptych_operator.observed import DeploymentSeen, JobSeen
from diptych_operator.store import Store

SPECS: dict[Kind, dict[str, Any]] = {
    kinds.FINE_TUNE_JOB: {"base": {"builtin": "tiny-emoji"}, "dataset": {"source": {"uri": "s3://bucket/pictures"}}},
    kinds.DIFFUSION_DEPLOYMENT: {"base": {"builtin": "tiny-emoji"}},
}


def put(store: Store, kind: Kind, name: str, *, labels: dict[str, str] | None = None, **parts: Any) -> None:
    metadata = {"name": name, "namespace": "art", "uid": f"uid-{name}", "resourceVersion": "1", "labels": labels or {}}
    store.put({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **parts})


@pytest.mark.parametrize(("kind", "owner"), [(kinds.FINE_TUNE_JOB, "job"), (kinds.DIFFUSION_DEPLOYMENT, "deployment")])
def test_pods_of_an_earlier_resource_of_the_name_are_not_seen(kind: Kind, owner: str) -> None:
    store = Store()
    put(store, kind, "noto", spec=SPECS[kind])
    put(store, kinds.POD, "mine", labels=names.labels("uid-noto", **{owner: "noto"}))
    put(store, kinds.POD, "leaving", labels=names.labels("uid-of-the-deleted-one", **{owner: "noto"}))
    seen = observe(store, Ref(kind, "art", "noto"))
    assert isinstance(seen, JobSeen | DeploymentSeen)
    assert [pod.name for pod in seen.pods] == ["mine"]


def test_the_log_in_a_rayjobs_status_takes_little_memory() -> None:
    store = Store()
    put(store, kinds.RAY_JOB, "noto", status={"message": "begin" + "x" * 20_000 + "end", "jobStatus": "FAILED"})
    status = (store.get(Ref(kinds.RAY_JOB, "art", "noto")) or {})["status"]
    assert (len(status["message"]), status["message"][:5], status["message"][-3:]) == (4096, "begin", "end")
    assert status["jobStatus"] == "FAILED"
