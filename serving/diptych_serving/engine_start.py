"""From a deployment's arguments to an engine that is ready to draw. Knows no Ray."""

import logging
import socket
import time
from pathlib import Path

import torch

from diptych_api.errors import ArtifactInvalid, UnsupportedHere
from diptych_api.servingconfig import ServingConfig
from diptych_diffusion.adapter_source import fetch_adapter
from diptych_diffusion.base_files import resolve_base
from diptych_diffusion.components import Components
from diptych_diffusion.held import Backend
from diptych_diffusion.pipeline import load
from diptych_diffusion.safety_checker import load_safety_checker
from diptych_serving.adapter_keeper import AdapterKeeper
from diptych_serving.backends import backend_lacking, backend_problem
from diptych_serving.devices import choose_device, choose_dtype, name_of
from diptych_serving.drawer import Drawer
from diptych_serving.engine import Engine
from diptych_serving.replica_facts import BaseFacts, StartFacts, base_facts
from diptych_serving.row_cap import rows_at_once

_log = logging.getLogger(__name__)


def build_drawer(config: ServingConfig, cache: Path) -> tuple[Drawer, BaseFacts, StartFacts]:
    """Load the base, warm it up, and return its engine, not yet started, with what the base can do and what it took.

    Raises:
        BaseInvalid, HubAuth, UnsupportedHere, RetryLater, StoreUnwritable: see the message.

    """
    began = time.monotonic()
    settings = config.backend, config.device, config.dtype, config.resources.gpus
    if problem := backend_problem(*settings) or backend_lacking(config.backend):
        raise UnsupportedHere(problem)
    device = choose_device(config.device, config.backend)
    dtype = choose_dtype(config.dtype, device)
    torch.set_num_threads(config.resources.cpus)
    folder = resolve_base(config.base, cache / "bases", with_checker=True)
    base, checker = load(folder, dtype=dtype, device=device), load_safety_checker(folder, device=device)
    if checker is None:
        _log.info("The base has no safety checker: every picture is shown.")
    backend = _onnx_unet(base, cache) if config.backend == "ONNX" else None
    loaded = time.monotonic()
    rows = rows_at_once(base, config.max_rows, backend)
    engine = Engine(base, checker, slots=config.slots, max_rank=config.max_rank, max_rows=rows, backend=backend)
    keeper = AdapterKeeper(engine.bank, base, lambda uri: fetch_adapter(uri, cache))
    start = StartFacts(socket.gethostname(), time.time(), loaded - began, time.monotonic() - loaded)
    return Drawer(engine, keeper), base_facts(name_of(config.base), base, has_checker=checker is not None), start


def _onnx_unet(base: Components, cache: Path) -> Backend:
    from diptych_diffusion.onnx_base import load_onnx_unet  # noqa: PLC0415 -- of an extra, for those who ask for it

    try:
        return load_onnx_unet(base, cache)
    except ArtifactInvalid as error:
        hint = "Set spec.backend to PyTorch."
        raise UnsupportedHere(f"ONNX Runtime cannot run this base. {error.message}", hint=hint) from error
