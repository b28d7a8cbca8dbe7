"""Serving a deployment on this machine until somebody ends it."""

import functools
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from diptych_api.diffusiondeployment import DiffusionDeployment, DiffusionDeploymentSpec
from diptych_api.endpoints import Endpoints
from diptych_api.errors import DiptychError, Interrupted, UserError
from diptych_api.runstore import namespace_folder
from diptych_api.serveconfig import PAGE_PATH
from diptych_api.servingconfig import ServedAdapter, ServingConfig, registry_config, serving_config
from diptych_cli.deployment_file import read_deployment
from diptych_cli.found_adapters import Models, find_adapters
from diptych_cli.job_file import base_name
from diptych_cli.signals import StopSignals
from diptych_serving.ad_variables import limits_told, overrides_of, with_variables

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
DRAWING: Final = "finishing what is being drawn …"
LOOK_EVERY_S: Final = 1.0
STARTING: Final = "stopping once Ray is up, which takes some seconds; Ctrl-C again does not wait …"


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """What `diptych serve` was asked for."""

    path: Path
    overrides: tuple[str, ...] = ()
    runs: Path = Path("runs")
    host: str = "127.0.0.1"
    address: str | None = None


def serve(request: ServeRequest) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises DiptychError."""
    deployment = _read(request)
    spec, name = deployment.spec, deployment.metadata.name
    folder = Path(namespace_folder(str(request.runs), deployment.metadata.namespace))
    adapters = find_adapters(spec, folder)
    try:
        from diptych_serving.forward import forwarded  # noqa: PLC0415 - beside the next
        from diptych_serving.local import served  # noqa: PLC0415 - takes seconds: PyTorch and Ray
        from diptych_serving.supported import check_supported, ignored  # noqa: PLC0415 - as above
        from diptych_serving.until_ready import wait_for_page, wait_until_ready  # noqa: PLC0415 - as above
    except ImportError as error:
        raise UserError(f"Serving needs {error.name}.", hint="Install diptych[serving].") from error
    check_supported(spec)
    for sentence in [*ignored(spec), *_open_ports(spec.endpoints, request.host), *_waiting(spec, adapters)]:
        _note(sentence)
    config = serving_config(name, deployment.metadata.namespace, spec)
    followed = registry_config(spec, adapters)
    draws = threading.Event()
    asked = StopSignals(lambda: typer.echo(f"\n{DRAWING if draws.is_set() else STARTING}"), lambda: None)
    with suppress(Interrupted), asked as signals:
        typer.echo(f"{name} · {base_name(spec.base)} + {_names(adapters)} · starting Ray and loading the base …")
        note = functools.cache(_note)
        http, older = spec.endpoints.http.port, _older_ports(spec.endpoints)
        with (
            forwarded(older, request.host, http),
            served(config, followed, host=request.host, address=request.address, tell=note, pause=signals.pause) as url,
        ):
            signals.install()
            draws.set()
            if spec.replicas == 0:
                note("spec.replicas is 0, so every picture is refused.")
                adapters_told = {}
            else:
                adapters_told = wait_until_ready(url, note, signals.pause)["adapters"]
            problem = wait_for_page(url, signals.pause) if spec.ui.enabled else None
            if problem is not None:
                note(f"the page did not start: {problem}")
            _tell(url, spec.endpoints, adapters_told, has_page=spec.ui.enabled and problem is None)
            bring = functools.partial(_bring, config, spec, request.host)
            _follow(Models(spec, folder, adapters, note), bring, note, signals.stop)
    typer.echo("stopped.")


def _read(request: ServeRequest) -> DiffusionDeployment:
    """Return the deployment of the file, as --set and variables of Astro-Diffusion change it. Raises SpecInvalid."""
    named = overrides_of(os.environ)
    for sentence in [*(f"{name} sets {override}." for name, override in named.items()), *limits_told(os.environ)]:
        _note(sentence)
    deployment = read_deployment(request.path, [*named.values(), *request.overrides])
    limits = with_variables(deployment.spec.rate_limit, os.environ)
    return deployment.model_copy(update={"spec": deployment.spec.model_copy(update={"rate_limit": limits})})


def _note(sentence: str) -> None:
    typer.echo(f"note: {sentence}")


def _open_ports(endpoints: Endpoints, host: str) -> list[str]:
    """Return what somebody should know who thinks that only this machine can ask."""
    if not endpoints.grpc.enabled or host not in LOOPBACK:
        return []
    told = f"gRPC answers other machines too, on port {endpoints.grpc.port}: Ray Serve cannot bind it to one address."
    return [f"{told} --set endpoints.grpc.enabled=false turns it off."]


def _waiting(spec: DiffusionDeploymentSpec, adapters: list[ServedAdapter]) -> list[str]:
    """Return which models stand for nothing yet."""
    waiting = [wanted for wanted, found in zip(spec.adapters, adapters, strict=True) if found.uri is None]
    models = [(adapter.name, adapter.from_model.name) for adapter in waiting if adapter.from_model is not None]
    promote = "diptych promote {} RUN --output RUNS"
    return [f"{name} waits for a version of {model}: {promote.format(model)}" for name, model in models]


def _older_ports(endpoints: Endpoints) -> list[int]:
    """Return the ports of earlier systems that the HTTP API has too."""
    older = endpoints.compatible
    return [older.port, older.ping_port] if older.enabled else []


def _names(adapters: list[Any]) -> str:
    return ", ".join(adapter.name for adapter in adapters) or "no adapters"


def _tell(url: str, endpoints: Endpoints, adapters: Mapping[str, Any], *, has_page: bool) -> None:
    """Print the state of the adapters and the next useful commands."""
    for name, adapter in adapters.items():
        typer.echo(
            f"{'✓' if adapter['state'] == 'Loaded' else '✗'} {name}: {adapter['state']} {adapter['message']}".rstrip()
        )
    grpc = (
        f" and grpc://{url.split('//')[1].rpartition(':')[0]}:{endpoints.grpc.port}" if endpoints.grpc.enabled else ""
    )
    page = f"page: {url}{PAGE_PATH}, " if has_page else ""
    typer.echo(f"✓ serving on {url}{grpc} ({page}documentation: {url}/docs)")
    typer.echo(f'next: diptych compare "red apple" --server {url}')
    typer.echo(f"""      curl -s {url}/v1/compare --json '{{"prompt": "red apple", "seed": 7, "grid": true}}'""")


def _bring(config: ServingConfig, spec: DiffusionDeploymentSpec, host: str, adapters: list[ServedAdapter]) -> None:
    """Let the deployment follow other adapters; nothing restarts. Raises RunFailed, RetryLater."""
    from diptych_serving.local import apply  # noqa: PLC0415 - takes seconds: PyTorch and Ray

    apply(config, registry_config(spec, adapters), host=host)


def _follow(
    models: Models, bring: Callable[[list[ServedAdapter]], None], note: Callable[[str], None], stop: threading.Event
) -> None:
    """Bring in what models stand for, until a stop is asked for; in pieces, so that the signal handlers run."""
    while not stop.wait(LOOK_EVERY_S):
        adapters = models.newer()
        if adapters is None:
            continue
        try:
            bring(adapters)
        except DiptychError as error:
            note(str(error))
            continue
        for old, new in zip(models.adapters, adapters, strict=True):
            if new != old:
                typer.echo(f"✓ {new.name} is {new.run or 'without a version'} from now on.")
        models.adapters = adapters
