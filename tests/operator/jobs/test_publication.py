"""A run that its gates offered is published when its model stands for it: once, and told in words."""

import json
from datetime import timedelta
from typing import Any

import pytest

from diptych_operator.child import Pod, Trouble
from diptych_operator.models.versions import run_of
from support.job_story import DIGEST, PUBLISHER_REF, JobStory, job_values

PLACE = "s3://models/noto"
AT = f"oci://registry/noto@{DIGEST}"
PROMOTION = {"model": "best", "gates": [{"metric": "ValidationLoss"}]}
LOST = {"reason": "RetryLater", "message": "The registry answered 503."}
REFUSED = {"reason": "HubAuth", "message": "The registry refused (403).", "hint": "Check the token."}


def story(**publish: Any) -> JobStory:
    """Return a job that has succeeded and offered its run."""
    values = job_values(promotion=PROMOTION, publish={"uri": PLACE} | publish)
    return JobStory(values).run().wait(5).succeeds()


def stands(told: JobStory, run: str | None = None, **status: Any) -> JobStory:
    """Let the model stand for a run, that of the job unless said otherwise."""
    name = run or run_of(told.seen().job)
    version = {"run": name, "uri": f"s3://b/{name}", "digest": DIGEST, "promotedAt": "2026-01-31T12:00:00Z"}
    head = {"apiVersion": "diptych.dev/v1alpha1", "kind": "DiffusionModel", "metadata": {"name": "best"}}
    told.model = {**head, "status": {"current": version, "history": [version]} | status}
    return told.settle()


def ends(told: JobStory, how: str, word: dict[str, Any] | None) -> JobStory:
    """Let a pod of the publisher end with a word; `how` is the condition of its Job, empty while it tries again."""
    made = told.objects[PUBLISHER_REF]
    message = {} if word is None else {"message": json.dumps(word)}
    container = {"name": "ray", "state": {"terminated": {"exitCode": 0 if how == "Complete" else 2} | message}}
    labels = made["spec"]["template"]["metadata"]["labels"]
    number = len(told.pods)
    pod = Pod(
        f"noto-publish-{number}", f"pod-{number}", labels, told.now + timedelta(seconds=number), False, "node", {}
    )
    told.pods = (*told.pods, Pod(**{**_fields(pod), "status": {"containerStatuses": [container]}}))
    if how:
        told.objects[PUBLISHER_REF]["status"] = {"conditions": [{"type": how, "status": "True", "message": "Backoff."}]}
    return told.settle()


def _fields(pod: Pod) -> dict[str, Any]:
    return {name: getattr(pod, name) for name in Pod.__slots__}


def test_nothing_is_published_before_the_model_stands_for_the_run() -> None:
    told = story()
    assert (told.phase, PUBLISHER_REF in told.objects) == ("Succeeded", False)
    assert told.condition("Published")[:2] == ("False", "NotPromoted")
    assert "There is no DiffusionModel best" in told.condition("Published")[2]
    assert told.condition("Promoted")[:2] == ("False", "NoModel")
    stands(told, "other-0123abcd")
    assert PUBLISHER_REF not in told.objects


def test_why_the_model_does_not_stand_for_it_is_told() -> None:
    told = story()
    looked = {"job": "noto", "completedAt": "2026-01-31T12:00:00Z", "outcome": "Rejected", "message": "It is worse."}
    stands(told, "other-0123abcd", considered=[looked | {"run": run_of(told.seen().job)}])
    assert told.condition("Published")[2].endswith("It is worse.")
    assert told.condition("Promoted")[:2] == ("False", "NotPromoted")
    stands(told)
    assert told.condition("Promoted")[:2] == ("True", "Promoted")


def test_a_promoted_run_is_published_once_and_the_job_that_did_it_goes() -> None:
    told = stands(story())
    assert told.condition("Published")[:2] == ("False", "Publishing")
    ends(told, "Complete", {"published": [AT], "message": "Published 9 files."})
    assert (told.status.published, told.condition("Published")[:2]) == ([AT], ("True", "Published"))
    assert PUBLISHER_REF not in told.objects
    assert [note.message for note in told.told.values() if note.reason == "Published"] == [f"It is at {AT}."]
    writes = told.writes
    stands(told, "newer-0123abcd")
    assert (told.writes, PUBLISHER_REF in told.objects) == (writes, False)


def test_an_operator_that_is_killed_at_any_write_publishes_it_all_the_same() -> None:
    whole = ends(stands(story()), "Complete", {"published": [AT]})
    for killed in range(story().writes + 1, whole.writes + 1):
        values = job_values(promotion=PROMOTION, publish={"uri": PLACE})
        told = JobStory(values, kill_at=killed).run().wait(5).succeeds()
        ends(stands(told), "Complete", {"published": [AT]})
        assert (told.status.published, PUBLISHER_REF in told.objects) == ([AT], False), killed


def test_a_run_whose_turn_is_over_is_not_sent_over_the_one_that_follows_it() -> None:
    told = stands(story())
    assert PUBLISHER_REF in told.objects
    stands(told, "newer-0123abcd")
    assert PUBLISHER_REF not in told.objects, "it was under way, and the place belongs to the newer one"
    assert told.condition("Published")[:2] == ("False", "Superseded")
    assert told.condition("Promoted")[0] == "True"
    stands(told)
    assert PUBLISHER_REF in told.objects, "it was pinned"


def test_a_run_that_the_model_remembers_no_more_was_promoted_all_the_same() -> None:
    told = story()
    looked = {"job": "noto", "completedAt": "2026-01-31T12:00:00Z", "outcome": "Promoted", "message": ""}
    stands(told, "newer-0123abcd", considered=[looked | {"run": run_of(told.seen().job)}])
    assert told.condition("Promoted")[0] == "True"


def test_what_nobody_can_tell_of_is_sent_again() -> None:
    told = stands(story())
    told.objects[PUBLISHER_REF]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    first = told.objects[PUBLISHER_REF]["metadata"]["uid"]
    told.settle()
    assert told.objects[PUBLISHER_REF]["metadata"]["uid"] != first
    ends(told, "Complete", {"published": [AT]})
    assert told.condition("Published")[0] == "True"


def test_what_kubernetes_refuses_or_a_queue_holds_back_is_told() -> None:
    told = stands(story())
    told.troubles = (Trouble("RayCluster", "noto-x", "FailedCreate", "an old one"),)
    assert told.settle().condition("Published")[1:] == ("Publishing", "")
    told.troubles = (Trouble("Job", "noto-publish", "FailedCreate", "exceeded quota"),)
    assert told.settle().condition("Published")[1] == "CreateFailed"
    told.troubles = ()
    told.objects[PUBLISHER_REF]["status"] = {"conditions": [{"type": "Suspended", "status": "True"}]}
    assert told.settle().condition("Published")[1] == "WaitingForQuota"


def test_a_place_that_cannot_become_a_pod_is_told() -> None:
    told = story()
    told.job["spec"]["publish"] |= {"token": {"name": "Not A Name", "key": "token"}}  # as of an older version
    assert stands(told).condition("Published")[1] == "SpecInvalid"
    assert told.condition("Promoted")[0] == "True"


def test_neither_sidecars_nor_gpus_of_training_are_in_the_pod() -> None:
    sidecar = {"name": "logs", "image": "logs:1"}
    own = {"name": "ray", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    values = job_values(
        promotion=PROMOTION,
        publish={"uri": PLACE},
        resources={"gpusPerWorker": 1, "pods": {"template": {"spec": {"containers": [own, sidecar]}}}},
    )
    told = stands(JobStory(values).run().wait(5).succeeds())
    (container,) = told.objects[PUBLISHER_REF]["spec"]["template"]["spec"]["containers"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_what_may_pass_is_told_while_the_job_tries_again() -> None:
    told = ends(stands(story()), "", {"failure": LOST})
    assert told.condition("Published")[:2] == ("False", "Publishing")
    assert "503" in told.condition("Published")[2]
    ends(told, "Complete", {"published": [AT]})
    assert told.condition("Published")[0] == "True"


def test_a_refusal_is_final_until_somebody_deletes_the_job() -> None:
    told = ends(stands(story()), "Failed", {"failure": REFUSED})
    status, reason, message = told.condition("Published")
    assert (status, reason, told.phase) == ("False", "HubAuth", "Succeeded")
    assert (
        message
        == "HubAuth: The registry refused (403). Check the token. Then delete the Job noto-publish: it is made anew."
    )
    assert [note.type for note in told.told.values() if note.reason == "NotPublished"] == ["Warning"]
    told.pods = ()
    told.lose(PUBLISHER_REF)
    assert told.condition("Published")[1] == "Publishing"


@pytest.mark.parametrize("word", [None, {"published": 5}])
def test_a_publisher_without_a_word_is_told_by_what_kubernetes_says(word: dict[str, Any] | None) -> None:
    told = ends(stands(story()), "Failed", word)
    assert told.condition("Published")[1:] == (
        "PublisherFailed",
        "Backoff. Then delete the Job noto-publish: it is made anew.",
    )


def test_a_dry_run_says_what_would_be_sent_and_stays() -> None:
    told = ends(stands(story(dryRun=True)), "Complete", {"message": "Would send 9 files."})
    assert told.condition("Published") == ("False", "DryRun", "Would send 9 files.")
    assert (told.status.published, PUBLISHER_REF in told.objects) == ([], True)


def test_the_pod_has_no_token_of_the_api_server_and_no_gpu() -> None:
    pod = stands(story()).objects[PUBLISHER_REF]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("diptych-pod", False)
    assert container["command"][:4] == ["python", "-m", "diptych_training", "--publish"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_a_job_without_promotion_publishes_by_itself() -> None:
    told = JobStory(job_values(publish={"uri": PLACE})).run().wait(5)
    told.says("Publishing", published=[PLACE]).succeeds()
    assert (PUBLISHER_REF in told.objects, told.condition("Published")[0]) == (False, "True")
