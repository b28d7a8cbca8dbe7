"""What the dashboards show: a table of panels, with queries in PromQL over the metrics of the operator."""

from dataclasses import dataclass
from typing import Final

RATE: Final = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: queries with their legends, the unit in Grafana's word, and the columns it takes of 24."""

    title: str
    meaning: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    width: int = 12
    kind: str = "timeseries"


def _quantiles(metric: str, label: str) -> tuple[tuple[str, str], ...]:
    by = ", ".join(filter(None, ("le", label)))
    legend = f"{{{{{label}}}}} " if label else ""
    return tuple(
        (f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket{RATE})))", f"{legend}p{percent}")
        for share, percent in ((0.5, 50), (0.99, 99))
    )


OPERATOR: Final = (
    Panel("Leader", "1 where a replica holds the Lease.", (("sum(diptych_leader)", ""),), width=4, kind="stat"),
    Panel("Queue", "Objects that wait for a worker.", (("sum(diptych_queue_depth)", ""),), width=4, kind="stat"),
    Panel(
        "Watch heard",
        "Seconds since a watch was last heard, for the freshest kind.",
        (("min(diptych_watch_age_seconds)", ""),),
        "s",
        4,
        "stat",
    ),
    Panel(
        "Errors",
        "Reconciles that failed, by kind and reason.",
        ((f"sum by (kind, reason) (rate(diptych_reconcile_errors_total{RATE}))", "{{kind}} {{reason}}"),),
        "reqps",
    ),
    Panel(
        "Reconcile time",
        "From the first read to the last write.",
        _quantiles("diptych_reconcile_seconds", "kind"),
        "s",
    ),
    Panel(
        "Reconciles",
        "Reconciles a second, by kind and outcome.",
        ((f"sum by (kind, outcome) (rate(diptych_reconcile_seconds_count{RATE}))", "{{kind}} {{outcome}}"),),
        "reqps",
    ),
    Panel("Wait in the queue", "From an event to its reconcile.", _quantiles("diptych_queue_wait_seconds", ""), "s"),
    Panel(
        "API requests",
        "Requests to the API server a second, by verb and code.",
        ((f"sum by (verb, code) (rate(diptych_api_requests_total{RATE}))", "{{verb}} {{code}}"),),
        "reqps",
    ),
    Panel("API time", "Time of a request to the API server.", _quantiles("diptych_api_request_seconds", "verb"), "s"),
    Panel(
        "Watches",
        "Seconds since each watch was last heard.",
        (("max by (kind) (diptych_watch_age_seconds)", "{{kind}}"),),
        "s",
    ),
    Panel(
        "Drift repaired",
        "Children that somebody else changed and the operator set right.",
        ((f"sum by (kind) (rate(diptych_drift_repaired_total{RATE}))", "{{kind}}"),),
        "reqps",
    ),
)
WORKLOADS: Final = (
    Panel(
        "Jobs running",
        "FineTuneJobs that train.",
        (('sum(diptych_objects{kind="FineTuneJob", phase="Running"})', ""),),
        width=6,
        kind="stat",
    ),
    Panel(
        "Jobs waiting",
        "FineTuneJobs without all their pods.",
        (('sum(diptych_objects{kind="FineTuneJob", phase=~"Pending|Provisioning"})', ""),),
        width=6,
        kind="stat",
    ),
    Panel(
        "Deployments ready",
        "DiffusionDeployments that serve.",
        (('sum(diptych_objects{kind="DiffusionDeployment", phase="Ready"})', ""),),
        width=6,
        kind="stat",
    ),
    Panel(
        "Deployments in trouble",
        "DiffusionDeployments that are degraded or failed.",
        (('sum(diptych_objects{kind="DiffusionDeployment", phase=~"Degraded|Failed"})', ""),),
        width=6,
        kind="stat",
    ),
    Panel("Jobs", "By phase.", (('sum by (phase) (diptych_objects{kind="FineTuneJob"})', "{{phase}}"),)),
    Panel("Deployments", "By phase.", (('sum by (phase) (diptych_objects{kind="DiffusionDeployment"})', "{{phase}}"),)),
    Panel(
        "GPUs in use",
        "GPU seconds a second, by namespace.",
        ((f"sum by (namespace) (rate(diptych_gpu_seconds_total{RATE}))", "{{namespace}}"),),
    ),
    Panel(
        "GPU hours of a day",
        "GPU hours of the last 24 hours, by namespace.",
        (("sum by (namespace) (increase(diptych_gpu_seconds_total[1d])) / 3600", "{{namespace}}"),),
        "h",
    ),
)
