"""Where a command looks: a path means this machine, a plain name or a named cluster means a cluster."""

from pathlib import Path

import pytest

from diptych_api.errors import UserError
from diptych_cli.commands.wait import seconds
from diptych_cli.where import Where, is_on_cluster
from support.recorded_run import diptych


@pytest.mark.parametrize("target", ["job.yaml", "gone.yml", "runs/local/noto-style-1a2b", "s3://bucket/run", "./noto"])
def test_what_is_written_as_a_path_is_of_this_machine(place: Path, target: str) -> None:
    assert not is_on_cluster(target, Where())


def test_a_plain_name_is_of_the_cluster_unless_a_folder_has_it(place: Path) -> None:
    assert is_on_cluster("noto-style", Where())
    (place / "noto-style").mkdir()
    assert not is_on_cluster("noto-style", Where())


@pytest.mark.parametrize("where", [Where(namespace="team"), Where(context="prod"), Where(kubeconfig=Path("config"))])
def test_a_cluster_that_is_named_is_meant(place: Path, where: Where) -> None:
    assert is_on_cluster("job.yaml", where)


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("10m", 600), ("2d", 172_800)])
def test_times_have_units(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1s", "10 m", "1w"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(UserError, match="is no time"):
        seconds(text)


def test_status_of_a_plain_name_points_to_the_cluster(place: Path) -> None:
    ended = diptych("status", "noto-style")
    assert ended.exit_code == 2
    assert "A job on a cluster: diptych logs noto-style" in ended.stderr
