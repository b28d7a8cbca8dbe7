"""The exact request, for a shell and for Python."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

PATH: Final = "/v1/compare"
KEY_VARIABLE: Final = "DIPTYCH_API_KEY"


def curl(url: str, body: Mapping[str, Any], *, with_key: bool) -> str:
    """Return a command that asks for the same pictures; a key stands in the environment."""
    key = f' \\\n  -H "Authorization: Bearer ${KEY_VARIABLE}"' if with_key else ""
    text = shlex.quote(json.dumps(dict(body), ensure_ascii=False))
    return f"curl -s {shlex.quote(url + PATH)}{key} \\\n  --json {text}"


def python(url: str, body: Mapping[str, Any], *, with_key: bool) -> str:
    """Return a program that asks for the same pictures and writes them here. It needs Python alone."""
    key = f', "Authorization": f"Bearer {{os.environ[{KEY_VARIABLE!r}]}}"' if with_key else ""
    fields = "".join(f"    {name!r}: {value!r},\n" for name, value in body.items())
    return f"""\
import base64
import json
{"import os" + chr(10) if with_key else ""}from pathlib import Path
from urllib.request import Request, urlopen

body = {{
{fields}}}
headers = {{"Content-Type": "application/json"{key}}}
request = Request({url + PATH!r}, json.dumps(body).encode(), headers)
with urlopen(request) as answer:
    reply = json.load(answer)
for number, image in enumerate(reply["images"]):
    name = f"{{number}}-{{image['adapter'] or 'base'}}-{{image['seed']}}.{{image['format']}}"
    Path(name).write_bytes(base64.b64decode(image["image"]))
"""


def public_url(headers: Mapping[str, str], scheme: str) -> str:
    """Return the address by which the visitor reaches the server, also behind a proxy."""
    host = headers.get("x-forwarded-host") or headers.get("host", "localhost")
    proto = headers.get("x-forwarded-proto") or scheme
    return f"{proto.partition(',')[0].strip()}://{host.partition(',')[0].strip()}"
