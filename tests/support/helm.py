"""Helm on our chart, as people call it."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from cluster.tools import find
from diptych_api.yaml_tree import to_yaml

Values = dict[str, Any]
CHART = Path(__file__).parents[2] / "charts" / "diptych"
VALUES = Path(__file__).parents[1] / "charts" / "values"
RELEASE = "diptych"
HOME = "diptych-system"


def helm(*arguments: str | Path, kubeconfig: Path | None = None, values: Values | None = None) -> str:
    """Return what Helm prints. Raises CalledProcessError, with what it said in ``stderr``."""
    settings = {"KUBECONFIG": str(kubeconfig or os.devnull), "HELM_NAMESPACE": HOME}
    given = ("--values", "-") if values is not None else ()
    return subprocess.run(
        [find("helm"), *arguments, *given],
        env=os.environ | settings,
        input=to_yaml(values) if values is not None else None,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def value_sets() -> dict[str, Values]:
    """Return the sets of values that tests go through, by name."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(VALUES.glob("*.yaml"))}


def rendered(values: Values, *flags: str) -> list[Values]:
    """Return the objects that the chart makes of some values."""
    return objects(helm("template", RELEASE, CHART, *flags, values=values))


def objects(text: str) -> list[Values]:
    """Return the objects of a rendered chart."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def the(kind: str, found: Iterable[Values]) -> Values:
    """Return the one object of a kind."""
    [one] = [each for each in found if each["kind"] == kind]
    return one
