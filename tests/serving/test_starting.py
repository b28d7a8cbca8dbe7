"""What Ray Serve says of a slow start, in words that blame nothing that is there. The messages are Ray 2.60's own."""

import pytest

from diptych_serving.starting import in_plain_words

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
