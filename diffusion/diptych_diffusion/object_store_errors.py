"""What an object store's answer means, as the error that a file would raise."""

import errno
import re
from typing import Final

DEBUG: Final = "\n\nDebug source:"
MEANINGS: Final = (
    (errno.ENOENT, r"<Code>NoSuchBucket<|specified bucket does not exist", "the bucket {bucket} does not exist"),
    (errno.ENOENT, r"^Object at location .* not found|status code: 404", ""),
    (errno.EEXIST, r"^Object at location .* already exists|^Request precondition failure", ""),
    (errno.EACCES, r"http://(169\.254\.169\.254|metadata)", "no credentials were found"),
    (errno.EACCES, r"status code: 40[13]|<Code>(ExpiredToken|InvalidToken|TokenRefreshRequired)<", ""),
    (errno.ENOSPC, r"status code: 507|StorageFull|QuotaExceeded|(?i:no space left|disk quota)", ""),
    (errno.ENOTSUP, r"status code: 501", ""),
    (errno.EINVAL, r"configured region", "the bucket {bucket} is in another region than AWS_REGION says"),
)
"""Number, signs in the client's text, and words where the store's own say less. The number chooses the error's type."""
STATUS: Final = re.compile(r"status code: (\d{3}[\w ]*)")
CODE: Final = re.compile(r"<Code>(\w+)</Code>")
MESSAGE: Final = re.compile(r"<Message>([^<]*)</Message>|\"message\": ?\"([^\"]*)\"")
PLACE: Final = re.compile(r"performing \w+ (\w+://[^/\s]+)")


def meaning(error: Exception, bucket: str) -> OSError:
    """Return the OSError that a client's error means; its text is the store's own."""
    text = str(error).partition(DEBUG)[0]
    for number, signs, words in MEANINGS:
        if re.search(signs, text):
            return OSError(number, words.format(bucket=bucket) or _said(text))
    return ConnectionError(_said(text))


def _said(text: str) -> str:
    """Return code and message of the answer; without an answer, what went wrong on the way."""
    message = next((one or other for one, other in MESSAGE.findall(text)), "")
    code = found[1] if (found := CODE.search(text) or STATUS.search(text)) else ""
    if answer := ": ".join(part for part in (code.strip(), message) if part):
        return answer
    place = found[1] if (found := PLACE.search(text)) else "the store"
    if "error sending request" in text:
        return f"{place} cannot be reached, or does not answer in time"
    return f"{place}: {text.rpartition(' - ')[2].strip()}"
