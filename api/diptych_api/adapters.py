"""Adapters of a deployment and where they come from."""

from pydantic import Field

from diptych_api.fields import Digest, Location, Model, Name
from diptych_api.rules import rule
from diptych_api.sources import StoreSecret


class JobRef(Model):
    """A FineTuneJob in the same namespace."""

    name: Name = Field(description="Name of the FineTuneJob.")


class ModelRef(Model):
    """A DiffusionModel in the same namespace."""

    name: Name = Field(description="Name of the DiffusionModel.")


class Adapter(Model):
    """An adapter that is served beside the base. Exactly one of uri, fromJob and fromModel."""

    name: Name = Field(description="Name by which requests choose it.")
    uri: Location | None = Field(default=None, description="Folder or file: a path, file://, s3://, gs:// or hf://.")
    digest: Digest | None = Field(default=None, description="Digest that the files at uri must have.")
    credentials: StoreSecret | None = Field(default=None, description="Credentials for the store or hub it lies in.")
    from_job: JobRef | None = Field(default=None, description="The verified artifact of a job.")
    from_model: ModelRef | None = Field(default=None, description="The current version of a model; follows promotion.")
    strength: float = Field(default=1, ge=-2, le=2, description="Factor of the update where a request names none.")

    @rule(
        "set exactly one of uri, fromJob and fromModel",
        cel="[has(self.uri), has(self.fromJob), has(self.fromModel)].exists_one(given, given)",
    )
    def _one_source(self) -> bool:
        return sum(source is not None for source in (self.uri, self.from_job, self.from_model)) == 1

    @rule("digest belongs to uri: jobs and models bring theirs along", cel="has(self.uri) || !has(self.digest)")
    def _digest_of_uri(self) -> bool:
        return self.uri is not None or self.digest is None
