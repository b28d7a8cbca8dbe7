"""Small requests over HTTP."""

from typing import Any

from support.services import Served

DEFAULTS = {"steps": 3, "guidanceScale": 2}
DOG = {"prompt": "a dog", "seed": 7}


def post(service: Served, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = service.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    values: dict[str, Any] = answer.json()
    return values
