"""Two dashboards for Grafana: the operator itself, and the resources that it looks after."""

import json
from typing import Any, Final

from diptych_operator.chart.panels import OPERATOR, WORKLOADS, Panel

WIDTH: Final = 24
HEIGHT: Final = 8
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


def dashboards() -> dict[str, str]:
    """Return the text of each dashboard by its file name."""
    return {
        "operator.json": _dashboard("diptych-operator", "Diptych / Operator", OPERATOR),
        "workloads.json": _dashboard("diptych-workloads", "Diptych / Jobs and deployments", WORKLOADS),
    }


def _dashboard(uid: str, title: str, panels: tuple[Panel, ...]) -> str:
    source = {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}
    content = {
        "uid": uid,
        "title": title,
        "tags": ["diptych"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": _placed(panels),
    }
    return json.dumps(content, indent=2) + "\n"


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """Return the panels in rows, from left to right."""
    placed, x, y = [], 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        place = {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
        placed.append({"id": number, "gridPos": place, **_content(panel)})
        x += panel.width
    return placed


def _content(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend}
        for index, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
