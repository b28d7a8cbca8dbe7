"""What every Kubernetes resource has: metadata, conditions, and the rule for its name."""

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from diptych_api.fields import API_VERSION, NAME_PATTERN, Count, Model, Record, Time
from diptych_api.rules import rule

LONGEST_NAME = 40
Reason = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]*$", min_length=1, max_length=64)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]


class OwnerReference(Record):
    """The object that this one belongs to, as Kubernetes spells it."""

    api_version: str = Field(max_length=317, description="Group and version of the owner.")
    kind: str = Field(max_length=63, description="Kind of the owner.")
    name: str = Field(max_length=253, description="Name of the owner.")
    uid: str = Field(max_length=64, description="Identity of the owner.")
    controller: bool | None = Field(default=None, description="The owner manages this object.")
    block_owner_deletion: bool | None = Field(default=None, description="The owner waits for this object's deletion.")


class ObjectMeta(Record):
    """Name, labels and bookkeeping of an object. Kubernetes adds many more keys; they are ignored."""

    name: str = Field(min_length=1, max_length=253, description="Name, unique for its kind in the namespace.")
    namespace: str | None = Field(default=None, max_length=63, description="Namespace; `local` on one machine.")
    labels: dict[LabelKey, LabelValue] = Field(default={}, description="Labels, for selecting.")
    annotations: dict[LabelKey, str] = Field(default={}, description="Annotations, for notes of any kind.")
    generation: int | None = Field(default=None, ge=0, description="Counts changes of the spec.")
    uid: str | None = Field(default=None, max_length=64, description="Identity over time and space.")
    resource_version: str | None = Field(default=None, max_length=64, description="Version of the stored object.")
    creation_timestamp: Time | None = Field(default=None, description="When it was made.")
    deletion_timestamp: Time | None = Field(default=None, description="When its deletion was asked for.")
    owner_references: list[OwnerReference] = Field(default=[], description="What it belongs to.")
    finalizers: list[str] = Field(default=[], description="Who wants to act before it goes.")


class Resource(Model):
    """A Kubernetes object. Subclasses add `kind`, `spec` and, most of them, `status`."""

    api_version: Literal["diptych.dev/v1alpha1"] = Field(default=API_VERSION, description="Group and version.")
    metadata: ObjectMeta = Field(description="Name, labels and bookkeeping.")

    @rule(
        "metadata.name must be at most 40 characters: small letters, digits and dashes, starting with a letter and "
        "ending with a letter or digit",
        cel=f"size(self.metadata.name) <= {LONGEST_NAME} && self.metadata.name.matches('{NAME_PATTERN}')",
        field="metadata.name",
    )
    def _name_fits_children(self) -> bool:
        name = self.metadata.name
        return len(name) <= LONGEST_NAME and re.fullmatch(NAME_PATTERN, name) is not None


class Condition(Record):
    """One aspect of the state, as in Kubernetes' own metav1.Condition."""

    type: str = Field(pattern=r"^[A-Z][A-Za-z0-9]*$", min_length=1, max_length=64, description="Aspect, in CamelCase.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: Count | None = Field(default=None, description="metadata.generation it speaks of.")
    last_transition_time: Time = Field(description="When the status last changed.")
    reason: Reason = Field(description="Why, in one CamelCase word.")
    message: str = Field(default="", max_length=4096, description="Why, in a sentence for people.")


class Status(Record):
    """What the operator says of a resource. Only the operator writes it."""

    observed_generation: Count | None = Field(default=None, description="metadata.generation the status speaks of.")
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        description="Aspects of the state, one of each type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
