"""Every generated file of the chart, by its path below the repository."""

from pathlib import Path

from diptych_operator.chart.crds import crd_templates
from diptych_operator.chart.dashboards import dashboards
from diptych_operator.chart.reference import chart_page
from diptych_operator.chart.schema import values_schema
from diptych_operator.chart.values_file import values_yaml

CHART = "charts/diptych"


def generated_files() -> dict[str, str]:
    """Return every generated text by its path."""
    return {
        f"{CHART}/values.yaml": values_yaml(),
        f"{CHART}/values.schema.json": values_schema(),
        "docs/reference/chart.md": chart_page(),
        **{f"{CHART}/templates/crds/{name}": text for name, text in crd_templates().items()},
        **{f"{CHART}/files/dashboards/{name}": text for name, text in dashboards().items()},
    }


def write(root: Path) -> None:
    """Write the generated files below the root of the repository."""
    for path, text in generated_files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
