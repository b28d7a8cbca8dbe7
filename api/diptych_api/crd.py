"""CustomResourceDefinitions of the four kinds, built from their models."""

from dataclasses import dataclass
from typing import Any

from diptych_api.diffusiondeployment import DiffusionDeployment, DiffusionDeploymentSpec
from diptych_api.diffusionmodel import DiffusionModel
from diptych_api.fieldpaths import wire_fields
from diptych_api.fields import API_GROUP, API_VERSION, Model
from diptych_api.finetunejob import FineTuneJob, FineTuneJobSpec
from diptych_api.finetunereport import FineTuneReport
from diptych_api.resource import Resource
from diptych_api.schema import Schema, structural

Column = tuple[str, str, str, int]
AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0)


@dataclass(frozen=True, slots=True)
class Definition:
    """What a CRD says of a kind besides its schema. A column is name, type, JSON path and priority (1: wide only)."""

    model: type[Resource]
    plural: str
    short: str
    columns: tuple[Column, ...]
    defaults: bool = True
    subresources: tuple[str, ...] = ("status",)

    @property
    def kind(self) -> str:
        """Return the kind."""
        return self.model.__name__


DEFINITIONS = (
    Definition(
        model=FineTuneJob,
        plural="finetunejobs",
        short="ftj",
        defaults=False,
        columns=(
            ("Phase", "string", ".status.phase", 0),
            ("Progress", "string", ".status.columns.progress", 0),
            ("ETA", "string", ".status.columns.eta", 0),
            ("Loss", "number", ".status.progress.loss", 0),
            ("Attempt", "integer", ".status.attempt", 0),
            ("GPUs", "integer", ".status.gpus", 0),
            ("Model", "string", ".spec.promotion.model", 0),
            ("Base", "string", ".status.columns.base", 1),
            ("Artifact", "string", ".status.artifact.uri", 1),
            AGE,
        ),
    ),
    Definition(
        model=DiffusionDeployment,
        plural="diffusiondeployments",
        short="dd",
        subresources=("status", "scale"),
        columns=(
            ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
            ("Replicas", "string", ".status.columns.replicas", 0),
            ("Adapters", "string", ".status.columns.adapters", 0),
            ("P50", "string", ".status.columns.p50", 0),
            ("URL", "string", ".status.url.http", 0),
            ("Phase", "string", ".status.phase", 1),
            ("Base", "string", ".status.columns.base", 1),
            AGE,
        ),
    ),
    Definition(
        model=DiffusionModel,
        plural="diffusionmodels",
        short="dm",
        columns=(
            ("Current", "string", ".status.current.run", 0),
            ("Previous", "string", ".status.previous.run", 0),
            ("Score", "string", ".status.columns.score", 0),
            ("Pinned", "string", ".spec.pin", 0),
            AGE,
        ),
    ),
    Definition(
        model=FineTuneReport,
        plural="finetunereports",
        short="ftr",
        defaults=False,
        subresources=(),
        columns=(
            ("Phase", "string", ".spec.phase", 0),
            ("Step", "integer", ".spec.step", 0),
            ("Of", "integer", ".spec.totalSteps", 0),
            AGE,
        ),
    ),
)
SUBRESOURCES: dict[str, dict[str, str]] = {
    "status": {},
    "scale": {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
}


def crd(definition: Definition) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind as plain values."""
    version: dict[str, Any] = {
        "name": API_VERSION.removeprefix(f"{API_GROUP}/"),
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in definition.columns],
        "schema": {"openAPIV3Schema": resource_schema(definition)},
    }
    if definition.subresources:
        version["subresources"] = {name: dict(SUBRESOURCES[name]) for name in definition.subresources}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{API_GROUP}"},
        "spec": {
            "group": API_GROUP,
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.kind.lower(),
                "shortNames": [definition.short],
                "categories": ["diptych"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def resource_schema(definition: Definition) -> Schema:
    """Return the schema of a whole object, with the rules that forbid changes."""
    schema = structural(definition.model, defaults=definition.defaults)
    properties = {
        "apiVersion": {"type": "string", "description": "Group and version of the object."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": {"type": "object"},
        **{part: schema["properties"][part] for part in ("spec", "status") if part in schema["properties"]},
    }
    schema["properties"] = properties
    schema["required"] = sorted(set(schema.get("required", ())) - {"metadata"})
    properties.get("status", {}).pop("default", None)
    spec = properties["spec"]
    rules = [*spec.get("x-kubernetes-validations", []), *(fixed(name, spec) for name in fixed_fields(definition.model))]
    if rules:
        spec["x-kubernetes-validations"] = rules
    return schema


def fixed_fields(model: type[Resource]) -> list[str]:
    """Return the wire names of the spec's fields that cannot change once the object exists."""
    spec: Any = model.model_fields["spec"].annotation
    if spec is FineTuneJobSpec:
        return _wire_names(FineTuneJobSpec, set(FineTuneJobSpec.model_fields) - FineTuneJobSpec.mutable)
    if spec is DiffusionDeploymentSpec:
        return _wire_names(DiffusionDeploymentSpec, set(DiffusionDeploymentSpec.immutable))
    return []


def fixed(name: str, spec: Schema) -> dict[str, str]:
    """Return the rule that a field of the spec keeps its value."""
    same = f"self.{name} == oldSelf.{name}"
    if name not in spec.get("required", ()) and "default" not in spec["properties"][name]:
        same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"
    message = f"spec.{name} cannot change once the object exists; create another with the new value"
    return {"rule": same, "message": message, "fieldPath": f".{name}"}


def _wire_names(spec: type[Model], names: set[str]) -> list[str]:
    return [wire for wire, name in zip(wire_fields(spec), spec.model_fields, strict=True) if name in names]


def _column(column: Column) -> dict[str, Any]:
    name, kind, path, priority = column
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})
