"""The page's application by itself: whom it calls and what it gives away. Importing Gradio takes seconds."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.browser


def test_it_calls_nobody_shows_no_files_takes_none_and_draws_nothing_before_it_knows_what_is_served() -> None:
    program = [sys.executable, "tests/support/page_alone.py"]
    told = subprocess.run(program, check=True, capture_output=True, text=True, timeout=200).stdout
    assert json.loads(told.splitlines()[-1]) == {
        "page": 200,
        "files": [403, 403],
        "upload": 413,
        "may be clicked": [False, False, False],
        "endpoints": {},
        "foreign": [],
    }
