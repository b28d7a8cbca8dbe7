"""Where adapters come from: a place, a job that succeeded, a model's current version."""

from typing import Any

import pytest

from support.gallery import DIGEST, Gallery

FROM_JOB = [{"name": "style", "fromJob": {"name": "job"}}]
FROM_MODEL = [{"name": "style", "fromModel": {"name": "best"}}]
FIGURES = [{"name": "ValidationLoss", "base": 0.2, "tuned": 0.1, "n": 8}]


def served(gallery: Gallery) -> dict[str, Any]:
    """Return the only adapter as engines are told of it."""
    (adapter,) = gallery.options("Registry")["user_config"]["adapters"]
    return dict(adapter)


def test_an_adapter_waits_for_its_job_and_follows_when_it_succeeds() -> None:
    gallery = Gallery(adapters=FROM_JOB)
    gallery.serve()
    assert served(gallery) == {"name": "style"}
    assert gallery.message("AdaptersLoaded") == "style: There is no FineTuneJob job in this namespace."
    gallery.job("job", "Running")
    assert gallery.message("AdaptersLoaded") == "style: FineTuneJob job is Running; its artifact comes at the end."
    assert (gallery.status["columns"]["adapters"], gallery.condition("Ready")[0]) == ("0/1", "True")
    gallery.job("job")
    place = "s3://b/runs/art/job-0123abcd/artifact"
    assert served(gallery) == {"name": "style", "uri": place, "digest": DIGEST, "run": "job-0123abcd"}
    gallery.play("Running")
    gallery.world.wait(6)
    assert gallery.condition("AdaptersLoaded") == ("True", "Loaded")
    assert gallery.status["columns"]["adapters"] == "1/1"
    assert ("AdapterFollows", "Adapter style is job-0123abcd now.") in gallery.told()


@pytest.mark.parametrize("phase", ["Failed", "Cancelled"])
def test_an_adapter_of_a_job_without_an_artifact_has_failed(phase: str) -> None:
    gallery = Gallery(adapters=FROM_JOB)
    gallery.job("job", phase)
    assert gallery.condition("AdaptersLoaded") == ("False", "AdapterFailed")
    assert gallery.status["adapters"][0]["message"] == f"FineTuneJob job has no artifact: it is {phase}."


def test_an_adapter_follows_what_is_promoted_and_rolled_back() -> None:
    gallery = Gallery(adapters=FROM_MODEL)
    gallery.model("best")
    assert served(gallery) == {"name": "style"}
    promotion = {"promotion": {"model": "best"}}
    gallery.job("first", spec=promotion, evaluation=FIGURES)
    assert served(gallery)["run"] == "first-0123abcd"
    gallery.job("second", spec=promotion, evaluation=[FIGURES[0] | {"tuned": 0.05}])
    assert served(gallery)["run"] == "second-0123abcd"
    gallery.model("best", pin="first-0123abcd")
    assert served(gallery)["run"] == "first-0123abcd"


def test_an_adapter_of_a_job_with_gates_waits_until_it_is_promoted() -> None:
    gallery = Gallery(adapters=FROM_JOB)
    spec = {"promotion": {"model": "best"}, "managedBy": "diptych.dev/operator"}
    gallery.job("job", spec=spec, evaluation=[FIGURES[0] | {"tuned": 0.3}])
    assert served(gallery) == {"name": "style"}
    assert "There is no DiffusionModel best" in gallery.message("AdaptersLoaded")
    gallery.model("best")
    assert served(gallery) == {"name": "style"}
    assert "FineTuneJob job is not served before it is promoted. Held against best" in gallery.message("AdaptersLoaded")
    gallery.model("best", pin="job-0123abcd")
    assert served(gallery)["run"] == "job-0123abcd"


def test_an_artifact_on_a_claim_is_mounted_where_the_job_had_it() -> None:
    gallery = Gallery(adapters=FROM_JOB)
    artifact = {"uri": "/mnt/claims/runs/art/job-0123abcd/artifact", "digest": DIGEST}
    gallery.job("job", artifact=artifact | {"sizeBytes": 1, "trainableParameters": 1})
    group = gallery.ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    claims = [volume for volume in group["volumes"] if "persistentVolumeClaim" in volume]
    assert [claim["persistentVolumeClaim"] for claim in claims] == [{"claimName": "runs", "readOnly": True}]
    mounts = {mount["name"]: mount for mount in group["containers"][0]["volumeMounts"]}
    assert mounts[claims[0]["name"]]["mountPath"] == "/mnt/claims/runs"


def test_a_folder_that_no_pod_has_is_told_with_the_way_out() -> None:
    gallery = Gallery(adapters=[{"name": "style", "uri": "adapters/style"}])
    assert served(gallery) == {"name": "style"}
    assert "Mount its volume there by pods.volumes." in gallery.message("AdaptersLoaded")
    mount = {"claim": {"claimName": "data"}, "mountPath": "/data"}
    gallery.change(adapters=[{"name": "style", "uri": "/data/style"}], pods={"volumes": [mount]})
    assert served(gallery)["uri"] == "/data/style"
