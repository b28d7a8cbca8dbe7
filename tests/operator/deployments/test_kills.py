"""The operator is killed after every single write of a story; another one brings it to the same end."""

from collections.abc import Callable
from typing import Any

import pytest

from support.gallery import SETTLED_S, Gallery

STYLE = [{"name": "style", "uri": "s3://bucket/style"}]


def changes(kill_at: int) -> Gallery:
    """Serve, follow a job's adapter, scale, and bring in new pods beside the old ones."""
    gallery = Gallery(kill_at=kill_at, adapters=[{"name": "style", "fromJob": {"name": "job"}}])
    gallery.serve()
    gallery.job("job")
    gallery.change(replicas=3)
    gallery.play("Running")
    later(gallery)
    gallery.change(pods={"image": "own:3"})
    gallery.play("UpgradeStarted", "UpgradeDeploying", "UpgradeDone")
    later(gallery)
    return gallery


def in_place(kill_at: int) -> Gallery:
    """Replace the pods where there is no room for more."""
    gallery = Gallery(kill_at=kill_at, rollout={"strategy": "InPlace"}, adapters=STYLE)
    gallery.serve()
    gallery.change(pods={"image": "own:3"})
    gallery.let_go()
    gallery.serve()
    later(gallery)
    return gallery


def suspension(kill_at: int) -> Gallery:
    """Take the pods away and bring them back."""
    gallery = Gallery(kill_at=kill_at, adapters=STYLE)
    gallery.serve()
    gallery.change(suspend=True)
    gallery.let_go()
    gallery.change(suspend=False)
    gallery.serve()
    later(gallery)
    return gallery


def failure(kill_at: int) -> Gallery:
    """Fail at the start, then start with another spec."""
    gallery = Gallery(kill_at=kill_at, base={"uri": "s3://bucket/wrong"})
    gallery.play("Initializing", "DeployFailedAtStart")
    gallery.change(base={"builtin": "tiny-emoji"}, endpoints={"http": {"ingressHost": "noto.example.org"}})
    gallery.play("Deploying", "Promoted", "Running")
    later(gallery)
    return gallery


def later(gallery: Gallery) -> None:
    gallery.world.now = gallery.world.now.replace(second=gallery.world.now.second + SETTLED_S)
    gallery.restart(gallery.world.defaults)


@pytest.mark.fuzz
@pytest.mark.parametrize("story", [changes, in_place, suspension, failure], ids=lambda story: story.__name__)
def test_a_kill_after_any_write_leads_to_the_same_end(story: Callable[[int], Gallery]) -> None:
    undisturbed = story(0)
    expected: dict[str, Any] = undisturbed.stored()
    assert undisturbed.status["phase"] == "Ready"
    assert undisturbed.written > 10
    for write in range(1, undisturbed.written + 1):
        assert story(write).stored() == expected, f"killed after write {write}"
