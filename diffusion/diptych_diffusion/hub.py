"""Repositories on the Hugging Face hub, at a commit."""

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from httpx2 import HTTPError
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from diptych_api.errors import DiptychError, HubAuth, RetryLater, StoreUnwritable, UserError
from diptych_api.sources import SecretKey

NAME: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*")
REFUSED: Final = frozenset({401, 403})
NOT_FOUND: Final = 404
TOO_MANY: Final = 429
UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR})
COMPLETE: Final = ".complete"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a commit, and the error of ours that says that it is no good."""

    kind: Literal["model", "dataset"]
    name: str
    revision: str
    token: SecretKey | None
    invalid: type[UserError]

    def sizes(self) -> dict[str, int]:
        """Return its files with their lengths in bytes. Raises ``invalid``, HubAuth and RetryLater."""
        if not NAME.fullmatch(self.name):
            raise self.invalid(f"{self.name!r} is not a repository of the hub.", hint="Write owner/name.")
        with self._named():
            entries = self._api().list_repo_tree(self.name, recursive=True, revision=self.revision, repo_type=self.kind)
            return {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}

    def download(self, folder: Path, names: Iterable[str]) -> None:
        """Bring files into a folder; those that are whole already are not asked for again.

        Raises ``invalid``, HubAuth, RetryLater and, where the folder takes no more, StoreUnwritable.
        """
        exactly = [re.sub(r"([*?\[])", r"[\1]", name) for name in names]
        with self._named():
            self._api().snapshot_download(
                self.name, repo_type=self.kind, revision=self.revision, local_dir=folder, allow_patterns=exactly
            )

    def _api(self) -> HfApi:
        return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=self._secret())

    def _secret(self) -> str | None:
        if self.token is None:
            return None
        secret = os.environ.get(self.token.key)
        if not secret:
            raise HubAuth(
                f"{self.name} needs a token, and the environment variable {self.token.key} is not set.",
                hint=f"export {self.token.key}=… with a read token of the hub.",
            )
        return secret

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except HfHubHTTPError as cause:
            raise self._refusal(cause.response.status_code) from cause
        except (OSError, HTTPError) as cause:
            if isinstance(cause, OSError) and cause.errno in UNWRITABLE:
                raise StoreUnwritable(
                    f"Cannot keep {self.name}: {cause.strerror} ({cause.filename}).",
                    hint="Free space, or check rights.",
                ) from cause
            raise RetryLater(
                f"The hub could not be reached for {self.name}: {cause}", hint="Try again, or give a uri."
            ) from cause

    def _refusal(self, status: int) -> DiptychError:
        what = f"{self.name} at {self.revision}"
        if status in REFUSED:
            return HubAuth(
                f"The hub refused {what} ({status}): it is private, gated, or does not exist.",
                hint="Accept its licence on the hub, and name a token: huggingFace.token.key is a variable's name.",
            )
        if status == NOT_FOUND:
            return self.invalid(
                f"The hub has no {what}.", hint="Check repo and revision; the revision is a commit hash."
            )
        if status == TOO_MANY:
            return RetryLater(
                f"The hub answers no more for now ({status}) for {what}.",
                hint="Wait some minutes; with a token it answers more.",
            )
        return RetryLater(f"The hub answered {status} for {what}.", hint="Try again later.")
