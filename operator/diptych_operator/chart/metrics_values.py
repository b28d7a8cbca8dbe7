"""Values of what watches the operator: metrics, alerts, dashboards."""

from pydantic import Field

from diptych_api.fields import Model
from diptych_operator.chart.value_types import Annotations, Duration, Labels


class MetricsService(Model):
    """A Service in front of /metrics, for scrapers that find Services."""

    enabled: bool = Field(default=True, description="Make the Service.")
    annotations: Annotations = Field(default={}, description="Annotations of the Service.")


class PodMonitor(Model):
    """A PodMonitor; needs the CRDs of the Prometheus operator."""

    enabled: bool = Field(default=False, description="Make the PodMonitor.")
    interval: Duration = Field(default="30s", description="Time between two scrapes.")
    labels: Labels = Field(default={}, description="Further labels, by which your Prometheus selects it.")


class PrometheusRule(Model):
    """Alerts, each with a runbook; needs the CRDs of the Prometheus operator."""

    enabled: bool = Field(default=False, description="Make the PrometheusRule.")
    labels: Labels = Field(default={}, description="Further labels, by which your Prometheus selects it.")


class Dashboards(Model):
    """Dashboards for Grafana, as ConfigMaps that its sidecar finds."""

    enabled: bool = Field(default=False, description="Make the ConfigMaps.")
    labels: Labels = Field(default={"grafana_dashboard": "1"}, description="Labels that the sidecar looks for.")
    annotations: Annotations = Field(default={}, description="Annotations, such as the folder in Grafana.")


class Metrics(Model):
    """What watches the operator."""

    service: MetricsService = Field(default=MetricsService(), description="Service in front of /metrics.")
    pod_monitor: PodMonitor = Field(default=PodMonitor(), description="PodMonitor of the Prometheus operator.")
    prometheus_rule: PrometheusRule = Field(default=PrometheusRule(), description="Alerts with runbooks.")
    dashboards: Dashboards = Field(default=Dashboards(), description="Dashboards for Grafana.")
