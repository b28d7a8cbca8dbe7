"""Writes what `make e2e` found into docs/e2e.md: the commit, a row for each file, the transcript of the whole way.

``python -m e2e.record RESULT.xml``, with the JUnit file of pytest.
"""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

from e2e.shell import ROOT, TRANSCRIPTS

PAGE = ROOT / "docs" / "e2e.md"
TOLD = ("install", "test_from_a_job_to_compared_pictures")
"""Transcripts of the whole way, in their order."""
OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}
PLACES = re.compile(r"/tmp/\S*/")  # noqa: S108 - it is looked for, not used
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Case:
    """A test, how it ended and how long it took, with what it prepared."""

    file: str
    outcome: str
    seconds: float


def cases(report: Path) -> list[Case]:
    """Return the tests of a JUnit file."""
    found = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - pytest wrote it
    return [
        Case(
            file=each.attrib["classname"].rpartition(".")[2],
            outcome=next((OUTCOMES[child.tag] for child in each if child.tag in OUTCOMES), "passed"),
            seconds=float(each.attrib["time"]),
        )
        for each in found
    ]


def table(found: Sequence[Case], about: dict[str, str]) -> str:
    """Return a row for each file of tests: what it is about, how its tests ended, minutes."""
    rows = ["| scenarios | tests | minutes |", "|---|---|---|"]
    for file, group in groupby(sorted(found, key=lambda case: case.file), key=lambda case: case.file):
        own = list(group)
        minutes = sum(case.seconds for case in own) / MINUTE_S
        rows.append(f"| [{file}](../tests/e2e/{file}.py): {about.get(file, '')} | {told(own)} | {minutes:.1f} |")
    return "\n".join(rows)


def told(found: Sequence[Case]) -> str:
    """Return how tests ended, such as ``7 passed, 1 failed``."""
    counts = Counter(case.outcome for case in found)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped") if counts[outcome])


def filled(page: str, part: str, text: str) -> str:
    """Return the page with a text between the marks of a part. Raises ValueError without marks."""
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page has no marks of {part}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def transcript() -> str:
    """Return what was typed on the whole way and what came, without this machine's folders."""
    files = [TRANSCRIPTS / f"{name}.txt" for name in TOLD]
    texts = [PLACES.sub("", file.read_text(encoding="utf-8")) for file in files if file.exists()]
    return f"```console\n{''.join(texts).strip()}\n```"


def main(report: Path) -> None:
    """Write the page."""
    found = cases(report)
    minutes = sum(case.seconds for case in found) / MINUTE_S
    commit = _git("rev-parse", "--short", "HEAD")
    changed = " with changes that are not committed" if _git("status", "--porcelain", ":!docs") else ""
    day, cores = f"{datetime.now(UTC):%Y-%m-%d}", os.cpu_count()
    said = f"Commit {commit}{changed}, {day}, {cores} cores: {told(found)} in {minutes:.0f} minutes."
    page = PAGE.read_text(encoding="utf-8")
    page = filled(page, "result", f"{said}\n\n{table(found, dict(_about()))}")
    page = filled(page, "transcript", transcript())
    PAGE.write_text(page, encoding="utf-8")


def _about() -> Iterator[tuple[str, str]]:
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        words = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        yield file.stem, words.partition("\n")[0].rstrip(".")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return done.stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
