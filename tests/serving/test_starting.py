"""What Ray Serve says of a slow start, in words that blame nothing that is there. The messages are Ray 2.60's own."""

import pytest

from diptych_api.errors import BaseInvalid
from diptych_serving.starting import in_plain_words, permanent

HEAD = "Deployment 'Engine' in application 'images' has 1 replicas that have taken more than 30s to "
SCHEDULED = (
    HEAD + "be scheduled. This may be due to waiting for the cluster to auto-scale or for a runtime environment to be "
    'installed. Resources required for each replica: {"CPU": %s}, total resources available: {"CPU": 1.85}. '
    "Use `ray status` for more details."
)
INITIALIZED = HEAD + "initialize.\nThis may be caused by a slow __init__ or reconfigure method."
NODES = [{"CPU": 4.0, "memory": 1e9}, {"CPU": 2.0}]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (SCHEDULED % "2.0", "have been starting for more than 30 seconds: their processes come up slowly"),
        (SCHEDULED % "500", "No node of the Ray cluster has CPU 500, as an engine replica needs."),
        (INITIALIZED, "have been loading the base for more than 30 seconds"),
        ("BaseInvalid: There is no file.", "BaseInvalid: There is no file."),
    ],
)
def test_a_slow_start_is_told_plainly(message: str, words: str) -> None:
    told = in_plain_words(message, NODES)
    assert words in told
    assert "auto-scale" not in told
    assert "__init__" not in told


def test_resources_that_ray_does_not_know_are_not_blamed() -> None:
    unknown = SCHEDULED.replace('{"CPU": %s}', "UNKNOWN")
    assert "have been starting" in in_plain_words(unknown, NODES)


FAILED = """\
A replica failed to start with exception. Retrying 2 more time(s). Error:
ray::ServeReplica:images:Engine.initialize_and_get_metadata() (pid=1, ip=10.0.0.1)
  File "/site-packages/ray/serve/_private/replica.py", line 1928, in initialize
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
  File "/diptych_diffusion/base_files.py", line 139, in stored_files
    raise BaseInvalid(f"{place} has no {stem}.safetensors.")
diptych_api.errors.BaseInvalid: unet has no model.safetensors. Save it.
"""


def test_what_no_other_try_can_cure_is_told_without_its_traceback() -> None:
    error = permanent(in_plain_words(FAILED, NODES))
    assert (type(error), str(error)) == (BaseInvalid, "unet has no model.safetensors. Save it.")
    passing = FAILED.replace("BaseInvalid: unet has no model.safetensors. Save it.", "RetryLater: The hub is away.")
    assert permanent(in_plain_words(passing, NODES)) is None
    assert in_plain_words(passing, NODES) == "RetryLater: The hub is away."
