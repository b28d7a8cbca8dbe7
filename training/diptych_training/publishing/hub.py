"""Publishing to a model repository on the Hugging Face hub, in one commit."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from httpx2 import HTTPError
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.tqdm import disable_progress_bars

from diptych_api.errors import HubAuth, RetryLater
from diptych_training.publishing.parcel import Item, Parcel
from diptych_training.publishing.plan import Plan, compared

REFUSED: Final = frozenset({401, 403})
KEPT: Final = frozenset({".gitattributes"})
"""Files of the hub's own."""


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A model repository. Files that the run no longer has go, so that it holds one artifact."""

    name: str
    token: str | None
    private: bool

    @property
    def place(self) -> str:
        """How people write it."""
        return f"hf://{self.name}"

    def plan(self, parcel: Parcel) -> Plan:
        """Return what is missing there. Raises HubAuth and RetryLater."""
        with self._named():
            try:
                entries = list(self._api().list_repo_tree(self.name, recursive=True))
            except RepositoryNotFoundError:
                return Plan(self.place, parcel.items, (), is_new=True)
        there = {entry.path: entry for entry in entries if isinstance(entry, RepoFile) and entry.path not in KEPT}
        return compared(self.place, parcel, there.keys(), lambda item: _is_same(item, there[item.name]))

    def send(self, plan: Plan, parcel: Parcel) -> str:
        """Make the repository where there is none, and commit; return the commit. Raises HubAuth and RetryLater."""
        with self._named():
            api = self._api()
            disable_progress_bars()  # which would be drawn over what the run shows
            if plan.is_new:
                api.create_repo(self.name, private=self.private, exist_ok=True)
            changes: list[CommitOperationAdd | CommitOperationDelete] = [
                *(CommitOperationAdd(item.name, item.content) for item in plan.send),
                *(CommitOperationDelete(name) for name in plan.remove),
            ]
            done = api.create_commit(self.name, changes, commit_message=f"Publish {parcel.title}")
            return f"{self.place}@{done.oid}"

    def _api(self) -> HfApi:
        return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=self.token)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except HfHubHTTPError as cause:
            status = cause.response.status_code
            if status in REFUSED:
                raise HubAuth(
                    f"The hub refused to publish to {self.name} ({status}).",
                    hint="spec.publish.token needs a token that may write to this repository.",
                ) from cause
            raise RetryLater(
                f"The hub answered {status} for {self.name}.", hint="Publish again: what is there is kept."
            ) from cause
        except (OSError, HTTPError, RuntimeError) as cause:
            raise RetryLater(
                f"Publishing to {self.name} was cut off: {cause}", hint="Publish again: what is there is kept."
            ) from cause


def _is_same(item: Item, there: RepoFile) -> bool:
    """Whether the hub has these bytes: by SHA-256 where it keeps large files, else by git's own hash."""
    if there.lfs is not None:
        return there.lfs.sha256 == item.sha256
    data = item.content if isinstance(item.content, bytes) else item.content.read_bytes()
    return there.size == len(data) and there.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 -- git's
