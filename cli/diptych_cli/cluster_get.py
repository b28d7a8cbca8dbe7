"""`diptych get`: what there is on a cluster, in the columns that kubectl shows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import typer

from diptych_api.errors import UserError
from diptych_cli.cluster import Cluster, connect
from diptych_cli.where import Where
from diptych_operator.kinds import DIFFUSION_DEPLOYMENT, DIFFUSION_MODEL, FINE_TUNE_JOB, Kind, Manifest

KINDS: Final = {"jobs": FINE_TUNE_JOB, "deployments": DIFFUSION_DEPLOYMENT, "models": DIFFUSION_MODEL}
SHORT: Final = {"ftj": "jobs", "dd": "deployments", "dm": "models"}
APART: Final = 3
"""Spaces between columns, as in kubectl."""


@dataclass(frozen=True, slots=True)
class GetRequest:
    """What `diptych get` was asked for; no kind means all of them."""

    kind: str | None = None
    name: str | None = None
    everywhere: bool = False
    wide: bool = False
    as_json: bool = False


def kind_named(text: str) -> tuple[str, Kind]:
    """Return the kind that people mean by `jobs`, `job`, `ftj` or `finetunejobs`, and our word for it."""
    typed = text.lower()
    for word, kind in KINDS.items():
        if typed in {word, word[:-1], kind.plural, kind.kind.lower(), *(k for k, v in SHORT.items() if v == word)}:
            return word, kind
    raise UserError(f"{text} is no kind.", hint=f"Write {', '.join(KINDS)}, or a kind and a name.")


def show(request: GetRequest, where: Where) -> None:
    """Print the objects as a table or as JSON. Raises DiptychError."""
    wanted = dict([kind_named(request.kind)]) if request.kind else KINDS
    cluster = connect(where)
    if request.as_json:
        _show_json(cluster, wanted, request)
        return
    tables = {word: _table(cluster, kind, request) for word, kind in wanted.items()}
    found = {word: table for word, table in tables.items() if table.get("rows")}
    for number, table in enumerate(found.values()):
        if number:
            typer.echo()
        typer.echo("\n".join(aligned(cells(table, wide=request.wide, everywhere=request.everywhere))))
    if not found:
        place = "the cluster" if request.everywhere else f"namespace {cluster.namespace}"
        *first, last = wanted
        words = f"{', '.join(first)} or {last}" if first else last
        typer.echo(f"No {words} in {place}.\nnext: kubectl apply -f JOB.yaml")


def cells(table: Manifest, *, wide: bool, everywhere: bool) -> list[list[str]]:
    """Return the rows of a server's table as texts, the head first; wide ones have the columns of second priority."""
    columns = table["columnDefinitions"]
    shown = [at for at, column in enumerate(columns) if wide or not column.get("priority")]
    rows = [[columns[at]["name"].upper() for at in shown]]
    rows += [[_text(row["cells"][at]) for at in shown] for row in table["rows"]]
    if everywhere:
        spaces = ["NAMESPACE", *(row["object"]["metadata"]["namespace"] for row in table["rows"])]
        rows = [[space, *row] for space, row in zip(spaces, rows, strict=True)]
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of texts as lines whose columns begin below each other."""
    widths = [max(map(len, column)) + APART for column in zip(*rows, strict=True)]
    return ["".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _table(cluster: Cluster, kind: Kind, request: GetRequest) -> Manifest:
    if request.name is not None:
        return cluster.table(kind, request.name)
    return cluster.list(kind, everywhere=request.everywhere, table=True)


def _show_json(cluster: Cluster, wanted: dict[str, Kind], request: GetRequest) -> None:
    """Write the object, or the objects of each kind under our word for it."""
    found: Any
    if request.name is not None:
        (kind,) = wanted.values()
        found = _shown(cluster.get(kind, request.name))
    else:
        lists = {word: cluster.list(kind, everywhere=request.everywhere) for word, kind in wanted.items()}
        found = {word: [_shown(item) for item in listed["items"]] for word, listed in lists.items()}
    typer.echo(json.dumps(found, ensure_ascii=False))


def _shown(item: Manifest) -> Manifest:
    """Return an object without the bookkeeping that kubectl leaves out too."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return {**item, "metadata": metadata}


def _text(value: object) -> str:
    return "" if value is None else str(value)
