"""A mixed trace through the engine under several rules of admission: what it can carry, and how long people wait."""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from diptych_bench.arrivals import ADAPTERS, Arrival, at_once, mixed_requests, poisson
from diptych_bench.figures import Spread, percentile, ratios, save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.policies import FIFO, OURS, POLICIES, SERIAL, Policy
from diptych_bench.replay import PolicyEngine, measured_costs, replay
from diptych_bench.shapes import TINY, Shape, make_adapter, make_base
from diptych_bench.simulation import Costs, Outcome, simulate
from diptych_diffusion.pipeline import load

GUIDANCE: Final = 7.5
LOAD: Final = 0.7
SIMULATED: Final = 2000
"""Requests of a simulated trace."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int = 2
    burst: int = 24
    """Requests that come at once, to see what can be carried."""
    stream: int = 40
    """Requests that come one by one, to see how long they take."""
    max_rows: int = 16
    threads: int = 2


def trace(effort: Effort, shape: Shape = TINY) -> None:
    """Measure in real time, unless for no rounds, and in simulated time over step times of the same run."""
    torch.set_num_threads(effort.threads)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        weather = stack.enter_context(watched())
        engine = stack.enter_context(_engine(scratch, shape, effort.max_rows))
        costs = measured_costs(engine, shape.pixels, GUIDANCE)
        real = _real_time(engine, shape, effort) if effort.rounds else None
        simulated = _simulated(costs, shape, effort)
    if real is not None:
        _show_bursts(real["bursts"])
        _show_waits(f"real time, {effort.stream} requests, {LOAD:.0%} of what mixed rows carry", real["waits"])
    show(
        "what can be carried, simulated", ("rule", "against serial"), list(simulated["capacity_against_serial"].items())
    )
    for at, waits in simulated["waits"].items():
        _show_waits(f"simulated, {SIMULATED} requests, {LOAD:.0%} of what {at} carries", waits)
    figures = {"shape": shape.name, "effort": effort, "step_seconds": costs}
    name = f"trace-{effort.threads}-thread{'s' if effort.threads > 1 else ''}"
    print(save(name, this_machine(), weather, {**figures, "real_time": real, "simulated": simulated}))


def _real_time(engine: PolicyEngine, shape: Shape, effort: Effort) -> dict[str, Any]:
    bursts = _bursts(engine, shape, effort)
    carried = effort.burst / bursts[OURS.name]["seconds"].median
    return {"bursts": bursts, "waits": _streams(engine, mixed_requests(effort.stream, shape.pixels), LOAD * carried)}


def _engine(scratch: Path, shape: Shape, max_rows: int) -> PolicyEngine:
    base = make_base(scratch / "base", shape)
    engine = PolicyEngine(load(base), slots=len(ADAPTERS), max_rows=max_rows)
    for number, name in enumerate(ADAPTERS):
        engine.bank.load(name, make_adapter(scratch / name, base, seed=number)[0])
    return engine


def _bursts(engine: PolicyEngine, shape: Shape, effort: Effort) -> dict[str, dict[str, Spread]]:
    """Return the seconds for many requests at once; every round starts with another policy."""
    arrivals = at_once(mixed_requests(effort.burst, shape.pixels))
    outcomes: dict[str, list[Outcome]] = {policy.name: [] for policy in POLICIES}
    for turn in range(effort.rounds):
        first = turn % len(POLICIES)
        for policy in POLICIES[first:] + POLICIES[:first]:
            outcomes[policy.name].append(replay(engine, arrivals, policy))
    wall = {name: [outcome.end_s for outcome in found] for name, found in outcomes.items()}
    cpu = {name: [outcome.cpu_s for outcome in found] for name, found in outcomes.items()}
    return {
        name: {
            "seconds": Spread.of(wall[name]),
            "cpu_seconds": Spread.of(cpu[name]),
            "capacity_against_serial": ratios(wall[SERIAL.name], wall[name]),
            "capacity_by_cpu": ratios(cpu[SERIAL.name], cpu[name]),
        }
        for name in outcomes
    }


def _streams(engine: PolicyEngine, requests: Sequence[Any], rate: float) -> dict[str, dict[str, float]]:
    arrivals = poisson(requests, rate)
    return {policy.name: _waits(replay(engine, arrivals, policy)) for policy in _batching()}


def _batching() -> list[Policy]:
    """Return the policies whose waits are compared; the serial ones cannot carry the load."""
    return [policy for policy in POLICIES if "at a time" not in policy.name]


def _simulated(costs: Costs, shape: Shape, effort: Effort) -> dict[str, Any]:
    requests = mixed_requests(SIMULATED, shape.pixels)
    ends = {policy.name: _run(at_once(requests), policy, costs, effort).end_s for policy in POLICIES}
    waits = {}
    for at in (OURS, FIFO):
        arrivals = poisson(requests, LOAD * SIMULATED / ends[at.name])
        waits[at.name] = {policy.name: _waits(_run(arrivals, policy, costs, effort)) for policy in _batching()}
    capacity = {name: round(ends[SERIAL.name] / end, 3) for name, end in ends.items()}
    return {"requests": SIMULATED, "capacity_against_serial": capacity, "waits": waits}


def _run(arrivals: Sequence[Arrival], policy: Policy, costs: Costs, effort: Effort) -> Outcome:
    return simulate(arrivals, policy, costs, effort.max_rows)


def _waits(outcome: Outcome) -> dict[str, float]:
    taken = outcome.latencies_s
    mean = float(f"{statistics.fmean(taken):.4g}")
    return {"mean_s": mean, "p50_s": percentile(taken, 50), "p95_s": percentile(taken, 95)}


def _show_bursts(bursts: Mapping[str, Mapping[str, Spread]]) -> None:
    columns = ("rule", "burst, seconds", "burst, CPU seconds", "capacity", "capacity by CPU")
    show("what can be carried, real time", columns, [(name, *figures.values()) for name, figures in bursts.items()])


def _show_waits(title: str, waits: Mapping[str, Mapping[str, float]]) -> None:
    ours = waits[OURS.name]["mean_s"]
    rows = [(name, *figures.values(), f"{figures['mean_s'] / ours:.2f}") for name, figures in waits.items()]
    show(title, ("rule", "mean s", "median s", "p95 s", "mean, against ours"), rows)
