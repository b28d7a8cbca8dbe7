"""API keys: who may ask for what. Only their hashes are ever held."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from diptych_api.fields import Model, Sha256, Text
from diptych_api.limits import Auth
from diptych_serving.refusals import Code, Refused

Scope = Literal["generate", "compare", "admin"]
SCHEME: Final = "bearer "


class APIKey(Model):
    """One key of the JSON list in the secret."""

    name: Text = Field(description="Who has it; stands in logs and limits.")
    sha256: Sha256 = Field(description="SHA-256 of the key, in hex.")
    scopes: list[Scope] = Field(default=["generate", "compare"], max_length=3, description="What it is good for.")


KEYS: Final = TypeAdapter(Annotated[list[APIKey], Field(min_length=1, max_length=10_000)])


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a deployment. ``problem`` says why they cannot be read; then nobody may ask."""

    known: tuple[APIKey, ...] = ()
    problem: str = ""

    def owner(self, authorization: str, scope: Scope | None) -> str:
        """Return whose key an ``Authorization`` header holds; without a scope any key will do.

        Raises:
            Refused: without a key, with one that is unknown, or with one that is not for this.

        """
        if self.problem:
            raise Refused(Code.UNAVAILABLE, self.problem, reason="KeysUnreadable", retry_after_s=60)
        if authorization[: len(SCHEME)].lower() != SCHEME:
            raise Refused(Code.UNAUTHENTICATED, "There is no API key.", "Send the header Authorization: Bearer KEY.")
        digest = hashlib.sha256(authorization[len(SCHEME) :].strip().encode()).hexdigest()
        found = [key for key in self.known if hmac.compare_digest(key.sha256, digest)]
        if not found:
            raise Refused(Code.UNAUTHENTICATED, "The API key is unknown.", "Check it, or ask for a new one.")
        if scope is not None and scope not in found[0].scopes:
            raise Refused(Code.FORBIDDEN, f"The API key is not for {scope}.", "Ask for one that is.")
        return found[0].name


def read_keys(auth: Auth, environment: Mapping[str, str]) -> Keys | None:
    """Return the keys that an environment variable holds as JSON, or None where anybody may ask."""
    if auth.api_keys is None:
        return None
    variable = auth.api_keys.key
    if variable not in environment:
        return Keys(problem=f"The API keys cannot be read: there is no environment variable {variable}.")
    try:
        return Keys(tuple(KEYS.validate_json(environment[variable])))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Keys(problem=f"The API keys in {variable} cannot be read: {where or 'JSON'}: {first['msg']}.")
