"""A deployment's YAML."""

from collections.abc import Sequence
from pathlib import Path

from diptych_api.diffusiondeployment import DiffusionDeployment
from diptych_api.errors import SpecInvalid
from diptych_api.yaml_reader import read_resource


def read_deployment(path: Path, overrides: Sequence[str] = ()) -> DiffusionDeployment:
    """Return the DiffusionDeployment of a file. Raises SpecInvalid."""
    resource = read_resource(path, overrides)
    if not isinstance(resource, DiffusionDeployment):
        raise SpecInvalid(f"{path} is a {resource.kind}.", hint="Give a DiffusionDeployment.")
    return resource
