"""From the script's step to a captured graph, one lever at a time: V0 to V7. Random weights, fresh inputs, no disk.

Shapes: B samples, C latent channels, h and w sides in latents, L tokens, D text width.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from peft.helpers import disable_input_dtype_casting
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from diptych_api.training import LoRA
from diptych_bench.figures import save, show
from diptych_bench.machine import this_machine, watched
from diptych_bench.shapes import SD15_512, TINY, Shape, make_base
from diptych_diffusion.components import Components
from diptych_diffusion.lora import inject, trainable
from diptych_diffusion.pipeline import load
from diptych_diffusion.schedule import NoiseSchedule

WARM_UP: Final = {"cpu": 3, "cuda": 30}
RANK: Final = 16
TERA: Final = 1e12


@dataclass(frozen=True, slots=True)
class Row:
    """Which levers are pulled."""

    name: str
    is_cached: bool = True
    channels_last: bool = True
    waits: bool = False
    """Whether the CPU reads the loss at every step, and the optimiser is the plain one."""
    round_trip: bool = False
    """Whether inputs of an adapter are cast to its own dtype first, as peft does."""
    compile: str = "Off"
    is_captured: bool = False


V0: Final = Row("V0 the script's step", is_cached=False, channels_last=False, waits=True, round_trip=True)
V1: Final = replace(V0, name="V1 cached latents and embeddings", is_cached=True)
V2: Final = replace(V1, name="V2 channels_last", channels_last=True)
V3: Final = replace(V2, name="V3 no waiting for the loss, fused AdamW", waits=False)
V4: Final = replace(V3, name="V4 adapters without a cast to fp32", round_trip=False)
V5: Final = replace(V4, name="V5 blocks compiled", compile="Regional")
V6: Final = replace(V4, name="V6 UNet compiled", compile="Whole")
V7: Final = replace(V4, name="V7 the whole step as a CUDA graph", is_captured=True)
ROWS: Final = (V0, V1, V2, V3, V4, V5, V6, V7)


class Rung:
    """One row: its own network with an adapter, its optimiser and its inputs."""

    def __init__(self, row: Row, base: Path, shape: Shape, batch: int, device: str, dtype: torch.dtype) -> None:
        self.row, self.device, self.dtype = row, device, dtype
        self.parts: Components = load(base, device=device, dtype=dtype)
        unet = self.parts.denoiser
        inject(unet, LoRA(rank=RANK, alpha=RANK), seed=0)
        if row.channels_last:
            unet.to(memory_format=torch.channels_last)
        if row.compile == "Regional":
            unet.compile_repeated_blocks()
        if row.compile == "Whole":
            unet.compile()
        self.unet, self.learning = unet.train(), [parameter for _, parameter in trainable(unet)]
        fused = True if device == "cuda" and not row.waits else None
        self.optimizer = torch.optim.AdamW(self.learning, lr=1e-4, capturable=row.is_captured, fused=fused)
        self.schedule = NoiseSchedule.from_config(self.parts.scheduler_config)
        random = torch.Generator().manual_seed(1)
        side, latent = shape.pixels, shape.pixels // self.parts.pixels_per_latent
        self.pixels_BCHW = torch.randn((batch, 3, side, side), generator=random).to(device, dtype)
        self.latents_BChw = torch.randn((batch, self.parts.latent_channels, latent, latent), generator=random)
        self.noise_BChw = torch.randn(self.latents_BChw.shape, generator=random).to(device)
        self.latents_BChw = self.latents_BChw.to(device)
        self.ids_BL = torch.randint(1000, (batch, self.parts.max_tokens), generator=random).to(device)
        width = self.parts.embedding_dim
        self.text_BLD = torch.randn((batch, self.parts.max_tokens, width), generator=random).to(device, dtype)
        self.t_B = torch.randint(1000, (batch,), generator=random).to(device)

    def loss(self) -> Tensor:
        """Return the loss of a forward pass; what is not cached is encoded first, and counted."""
        if not self.row.is_cached:
            with torch.no_grad():
                self.parts.vae.encode(self.pixels_BCHW)
                self.parts.text_encoder(self.ids_BL)
        noisy_BChw = self.schedule_noise()
        with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
            predicted_BChw = self.unet(noisy_BChw.to(self.dtype), self.t_B, self.text_BLD, return_dict=False)[0]
        return functional.mse_loss(predicted_BChw.float(), self.noise_BChw)

    def schedule_noise(self) -> Tensor:
        """Return the noisy latents, in fp32."""
        share_T = self.schedule.alphas_cumprod_T.to(self.device)
        share_B111 = share_T[self.t_B].view(-1, 1, 1, 1)
        return share_B111.sqrt() * self.latents_BChw + (1 - share_B111).sqrt() * self.noise_BChw

    def step(self) -> None:
        """Do one optimiser step."""
        loss = self.loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not self.row.is_captured)
        if self.row.waits:
            loss.item()
            loss.item()

    def gradient(self) -> tuple[float, Tensor]:
        """Return loss and gradient at the start."""
        loss = self.loss()
        loss.backward()
        flat = torch.cat([p.grad.flatten().float().cpu() for p in self.learning if p.grad is not None])
        self.optimizer.zero_grad()
        return float(loss), flat

    def captured(self) -> Callable[[], None]:
        """Return what does a step: the function, or a replay of its kernels."""
        if not self.row.is_captured:
            return self.step
        aside = torch.cuda.Stream()
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay


def ladder(device: str, steps: int, batches: list[int]) -> None:
    """Climb, print and save."""
    shape, dtype = (SD15_512, torch.bfloat16) if device == "cuda" else (TINY, torch.float32)
    with watched() as weather, tempfile.TemporaryDirectory() as scratch:
        base = make_base(Path(scratch), shape)
        matmul = _matmul_tflops(device, dtype)
        rows = []
        for batch in batches:
            wanted = _reference(base, shape, batch, device)
            for row in ROWS if device == "cuda" else ROWS[:5]:
                rows.append(_climbed(Rung(row, base, shape, batch, device, dtype), wanted, batch, steps, matmul))
                print(rows[-1], flush=True)
    columns = ("batch", "row", "img/s", "ms", "TFLOP/s", "of a matmul", "peak GiB", "loss, off", "gradient, off")
    show(
        f"{shape.name}, LoRA of rank {RANK}, {dtype}, matmul {matmul:.3g} TFLOP/s",
        columns,
        [tuple(r.values()) for r in rows],
    )
    if device == "cpu":
        print("V5 and V6 take minutes to compile, and V7 needs a GPU: --device cuda.")
    print(save(f"train-ladder-{device}", this_machine(), weather, {"matmul_tflops": matmul, "rows": rows}))


def _reference(base: Path, shape: Shape, batch: int, device: str) -> tuple[float, Tensor]:
    """Return loss and gradient of V0 in fp32."""
    return Rung(V0, base, shape, batch, device, torch.float32).gradient()


def _climbed(rung: Rung, wanted: tuple[float, Tensor], batch: int, steps: int, matmul: float) -> dict[str, Any]:
    on_gpu = rung.device == "cuda"
    with disable_input_dtype_casting(rung.unet, active=not rung.row.round_trip):
        loss, gradient = rung.gradient()
        flops = _flops(rung)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        do = rung.captured()
        for _ in range(WARM_UP[rung.device]):
            do()
        seconds = _timed(do, steps, on_gpu=on_gpu)
    achieved = flops / seconds / TERA
    return {
        "batch": batch,
        "row": rung.row.name,
        "images_per_second": round(batch / seconds, 2),
        "ms": round(1000 * seconds, 2),
        "tflops": round(achieved, 3),
        "of_a_matmul": round(achieved / matmul, 3),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None,
        "loss_off": float(f"{abs(loss - wanted[0]) / wanted[0]:.2g}"),
        "gradient_off": float(f"{float((gradient - wanted[1]).norm() / wanted[1].norm()):.2g}"),
    }


def _timed(do: Callable[[], object], steps: int, *, on_gpu: bool) -> float:
    """Return seconds of a step: by the GPU's own events, or on the clock."""
    if not on_gpu:
        began = time.perf_counter()
        for _ in range(steps):
            do()
        return (time.perf_counter() - began) / steps
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(steps):
        do()
    last.record()
    torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / steps / 1000


def _flops(rung: Rung) -> float:
    """Return the operations of forward and backward pass, as torch counts them; of V0, VAE and text encoder too."""
    if rung.row.compile != "Off":
        return _flops_of.get(rung.latents_BChw.shape, 0.0)
    with FlopCounterMode(display=False) as counter:
        rung.loss().backward()
    rung.optimizer.zero_grad()
    _flops_of[rung.latents_BChw.shape] = float(counter.get_total_flops())
    return _flops_of[rung.latents_BChw.shape]


_flops_of: dict[Any, float] = {}
"""By the shape of the latents, for rows whose compiled code cannot be looked into."""


def _matmul_tflops(device: str, dtype: torch.dtype) -> float:
    """Return what one large product of matrices reaches on the same machine."""
    side = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(5):
        a @ b
    return 2 * side**3 / _timed(lambda: a.__matmul__(b), 20, on_gpu=device == "cuda") / TERA
