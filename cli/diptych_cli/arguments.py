"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

JobFile = Annotated[
    Path, typer.Argument(metavar="JOB.yaml", help="A FineTuneJob. Paths in it start at the current folder.")
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's folder, or the YAML it was started from (then with the same --set).",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a field, such as training.steps=1000. Can be repeated; null takes a field away.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for scripts. Errors too, on stderr.")]
JobOrRun = Annotated[
    str,
    typer.Argument(
        metavar="NAME|RUN",
        help="A FineTuneJob's name on a cluster; or, on this machine, a run's folder or the YAML it was started from.",
        show_default=False,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("-n", "--namespace", metavar="NAME", help="Namespace of the cluster. \\[default: the context's]"),
]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="NAME", help="Context of the kubeconfig. \\[default: the current one]"),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="\\[default: KUBECONFIG, ~/.kube/config, or the pod's account]"),
]
