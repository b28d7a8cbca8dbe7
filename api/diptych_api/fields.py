"""The base classes and the bounded types that all resource models are made of."""

from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from diptych_api.rules import rules_of

API_GROUP = "diptych.dev"
API_VERSION: Literal["diptych.dev/v1alpha1"] = "diptych.dev/v1alpha1"

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
URI_PATTERN = r"^[A-Za-z][A-Za-z0-9+.-]*://.+$"
BROKEN_RULE = "broken_rule"


class Model(BaseModel):
    """A value on the wire: camelCase outside, snake_case inside, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
    )

    def __deepcopy__(self, memo: dict[int, object] | None = None) -> Self:
        """Return itself: nothing changes a value, and pydantic would copy each default anew for every object read."""
        return self

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        broken = [rule for rule in rules_of(type(self)) if not rule.holds(self)]
        if broken:
            text = "; ".join(rule.message for rule in broken)
            context = {"text": text, "broken": [(rule.field, rule.message) for rule in broken]}
            raise PydanticCustomError(BROKEN_RULE, "{text}", context)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rules to the JSON schema, where the generator of the CRDs finds them."""
        schema = handler(core)
        if rules := rules_of(cls):
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = [rule.wire() for rule in rules]
        return schema


class Record(Model):
    """A value that a program wrote: fields of a newer version are ignored, so that older readers go on."""

    model_config = ConfigDict(extra="ignore")


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=40)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Prompt = Annotated[str, StringConstraints(max_length=2000)]
Template = Annotated[str, StringConstraints(pattern=r"^[^\x00]*\{prompt\}[^\x00]*$", max_length=2000)]
Location = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Path = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", min_length=1, max_length=1024)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**53)]
Steps = Annotated[int, Field(ge=1, le=10_000_000)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Time = AwareDatetime
