"""Where things come from and go to: bases, data sets, output, secrets."""

from typing import Literal

from pydantic import Field

from diptych_api.fields import Location, Model, Path, Sha256, Text
from diptych_api.rules import rule


class SecretKey(Model):
    """One key of a Secret in the job's namespace; on one machine, an environment variable of the same name."""

    name: Text = Field(description="Name of the Secret.")
    key: Text = Field(description="Key in the Secret; on one machine, the environment variable that is read.")


STORE_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)
"""What object stores read of the environment."""


class StoreSecret(Model):
    """A Secret with the credentials of an object store; on one machine the environment has them."""

    name: Text = Field(description="Name of the Secret.")
    key: Text | None = Field(
        default=None,
        description="The one key that is read, named after the environment variable that it fills. Without it all are "
        f"read that the Secret has of {', '.join(STORE_VARIABLES)}.",
    )


class Claim(Model):
    """A folder on a PersistentVolumeClaim."""

    claim_name: Text = Field(description="Name of the PersistentVolumeClaim in the same namespace.")
    path: Path = Field(default=".", description="Folder inside the volume; it may not leave the volume.")


class HuggingFaceModel(Model):
    """A model repository on the Hugging Face hub, pinned to a commit."""

    repo: Text = Field(description="Repository id, as in `owner/name`.")
    revision: str = Field(
        pattern=r"^[0-9a-f]{40}$",
        max_length=40,
        description="Commit hash of 40 hex digits. Branches move, commits do not.",
    )
    token: SecretKey | None = Field(default=None, description="Token for gated or private repositories.")


class Base(Model):
    """The model to start from. Exactly one of builtin, huggingFace, uri and pvc."""

    builtin: Literal["tiny-emoji"] | None = Field(default=None, description="A base that comes with Diptych.")
    hugging_face: HuggingFaceModel | None = Field(
        default=None, description="A diffusers pipeline on the Hugging Face hub."
    )
    uri: Location | None = Field(
        default=None,
        description="A diffusers pipeline folder: a path, file://, s3:// or gs://, or an https:// archive with sha256.",
    )
    sha256: Sha256 | None = Field(default=None, description="Checksum of an https:// archive.")
    pvc: Claim | None = Field(default=None, description="A diffusers pipeline folder on a volume.")

    @property
    def is_distilled(self) -> bool:
        """Whether its name says that it draws in a few steps without guidance, as sd-turbo does (arXiv 2311.17042)."""
        name = self.hugging_face.repo if self.hugging_face is not None else self.uri or ""
        return "turbo" in name.rstrip("/").rpartition("/")[2].casefold()

    @rule(
        "set exactly one of builtin, huggingFace, uri and pvc",
        cel="[has(self.builtin), has(self.huggingFace), has(self.uri), has(self.pvc)].exists_one(given, given)",
    )
    def _one_place(self) -> bool:
        return sum(place is not None for place in (self.builtin, self.hugging_face, self.uri, self.pvc)) == 1

    @rule(
        "an https:// uri needs sha256, the checksum of the archive",
        cel="!has(self.uri) || !self.uri.startsWith('https://') || has(self.sha256)",
        field="sha256",
    )
    def _https_with_checksum(self) -> bool:
        return self.uri is None or not self.uri.startswith("https://") or self.sha256 is not None


class HuggingFaceDataset(Model):
    """A data set repository on the Hugging Face hub, pinned to a commit."""

    repo: Text = Field(description="Repository id, as in `owner/name`.")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", max_length=40, description="Commit hash of 40 hex digits.")
    config: Text | None = Field(default=None, description="Configuration name, where the data set has several.")
    split: Text = Field(default="train", description="Split to read.")
    token: SecretKey | None = Field(default=None, description="Token for gated or private repositories.")


class DatasetSource(Model):
    """Where the pictures are. Exactly one of uri, huggingFace and pvc."""

    uri: Location | None = Field(
        default=None,
        description="Folder or archive (.zip, .tar, .tar.gz): a local path, file://, s3://, gs://, hf:// or https://.",
    )
    sha256: Sha256 | None = Field(default=None, description="Checksum of an archive; required for https://.")
    hugging_face: HuggingFaceDataset | None = Field(default=None, description="A data set on the Hugging Face hub.")
    pvc: Claim | None = Field(default=None, description="A folder on a volume.")
    credentials: StoreSecret | None = Field(default=None, description="Credentials for the object store.")

    @rule(
        "set exactly one of uri, huggingFace and pvc",
        cel="[has(self.uri), has(self.huggingFace), has(self.pvc)].exists_one(given, given)",
    )
    def _one_place(self) -> bool:
        return sum(place is not None for place in (self.uri, self.hugging_face, self.pvc)) == 1

    @rule(
        "an https:// uri needs sha256, the checksum of the archive",
        cel="!has(self.uri) || !self.uri.startsWith('https://') || has(self.sha256)",
        field="sha256",
    )
    def _https_with_checksum(self) -> bool:
        return self.uri is None or not self.uri.startswith("https://") or self.sha256 is not None


class Output(Model):
    """Where the run store is kept. Exactly one of uri and pvc."""

    uri: Location | None = Field(
        default=None,
        description="A local path, file://, s3:// or gs://; runs are folders below it. On Kubernetes, relative paths "
        "start at the claim diptych-workspace.",
    )
    pvc: Claim | None = Field(default=None, description="A folder on a volume.")
    credentials: StoreSecret | None = Field(default=None, description="Credentials for the object store.")

    @rule("set exactly one of uri and pvc", cel="has(self.uri) != has(self.pvc)")
    def _one_place(self) -> bool:
        return (self.uri is None) != (self.pvc is None)
