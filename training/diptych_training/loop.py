"""The training loop: the same in a bare process and in every Ray worker."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.nn import Parameter

from diptych_api.errors import RunFailed
from diptych_api.training import Training
from diptych_training.batch import Batch, BatchMaker
from diptych_training.data.buckets import grouped
from diptych_training.letters import Progress, Row, Standing, Tell
from diptych_training.optim import Average, learning_rate, optimizer_tensors, set_learning_rate
from diptych_training.order import Order, Visit, shard
from diptych_training.painting import Painter
from diptych_training.progress import Meter, mean
from diptych_training.saving import Keeper
from diptych_training.sharding import Shards
from diptych_training.step import Update, training_step
from diptych_training.stopwatch import Stopwatch, peak_gpu_memory, peak_memory
from diptych_training.trainee import Trainee
from diptych_training.validation import Seat, StopAsked, validation_losses


@dataclass
class Loop:
    """One worker's share of a run. ``run`` may be called once."""

    training: Training
    trainee: Trainee
    optimizer: torch.optim.Optimizer
    average: Average
    maker: BatchMaker
    order: Order
    held_out: Sequence[Visit]
    total_steps: int
    tell: Tell
    keeper: Keeper | None = None
    """Saves checkpoints; None on every worker but the first."""
    painter: Painter | None = None
    """Draws pictures on the way; None where none are wanted, and on every worker but the first."""
    rank: int = 0
    world: int = 1
    shards: Shards | None = None
    """This worker's share of gradients and moments, where they are divided."""
    step: int = 0
    standing: Standing = field(default_factory=Standing)
    look_every: int = 1
    """Steps between reads of the figures. On a GPU each read waits for it."""
    report_every_s: float = 0.5

    def __post_init__(self) -> None:
        """Set up the meter and the fp16 scaler."""
        self.told, self.asked = 0.0, False
        kind = torch.amp.GradScaler if self.shards is None else ShardedGradScaler
        self.scaler = kind(self.trainee.device.type, enabled=self.trainee.compute_dtype == torch.float16)
        training = self.training
        self.watch = Stopwatch(self.trainee.device)
        self.lap = self.watch.lap
        size, most = training.batch_size, training.max_grad_norm
        self.update = Update(self.optimizer, self.scaler, size, most, self.shards, self.lap)
        self.meter = Meter(self.order, self.training.batch_size, self.step, skips_overflows=self.scaler.is_enabled())
        if self.step:
            self.meter.checkpoint_step = self.step

    def run(self) -> bool:
        """Train to the end, an early stop or a request to stop; return whether training is complete."""
        self.trainee.train(on=True)
        before = self.trainee.frozen_digest()
        if self._due(self.training.validation.every_steps) and not self._is_validated():
            self._validate()
        self._paint()
        complete = not self.meter.stop and self._steps()
        if complete and self.trainee.frozen_digest() != before:
            raise RunFailed("A frozen weight changed while training.", hint="This is a bug: please report it.")
        return complete

    def _steps(self) -> bool:
        # One OpenMP thread is enough beside the step; a second team would spin on the cores that the step needs.
        with ThreadPoolExecutor(1, "batches", torch.set_num_threads, (1,)) as pool:
            ahead = self._build(pool, self.step)
            while self.step < self.total_steps and not self.standing.is_over(self.training.early_stopping):
                with self.lap("data"):
                    batches, ahead = ahead.result(), self._build(pool, self.step + 1)
                self._one_step(batches, stop=self.asked)
                if self._after_step():
                    return False
        self._save(wait=True)
        self._report(now=True)
        return True

    def _after_step(self) -> bool:
        """Do what is due after a step; return whether somebody asked to stop."""
        if self._due(self.look_every):
            with self.lap("logging"):
                self.meter.read()
        if self._due(self.training.validation.every_steps):
            self._validate()
        self._paint()
        stop = self.meter.stop
        if stop or self._due(self.training.checkpoint.every_steps):
            with self.lap("checkpoint"):
                self._save(wait=stop)
        if self.step == self.meter.start_step + 1:
            self.watch.reset()
        with self.lap("logging"):
            self._report(now=stop)
        return stop

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.total_steps

    def _build(self, pool: ThreadPoolExecutor, step: int) -> Future[list[Batch]]:
        """Start building the micro-batches of optimiser step ``step`` beside the one that runs."""
        visits = self.order.batch(step, self.training.batch_size)
        mine = [visits[i] for i in shard(len(visits), self.rank, self.world)]
        size = self.training.micro_batch_size or max(1, len(mine))
        alike = grouped(mine, lambda visit: visit.shape)
        pieces = [group[i : i + size] for group in alike for i in range(0, len(group), size)]
        device = self.trainee.device
        return pool.submit(lambda: [self.maker.training(piece).pinned_for(device) for piece in pieces])

    def _one_step(self, batches: Sequence[Batch], *, stop: bool) -> None:
        rate = learning_rate(self.training, self.total_steps, self.step)
        set_learning_rate(self.optimizer, rate)
        result = training_step(self.trainee, self.update, batches, stop=stop)
        with self.lap("optimiser"):
            self.average.update()
        self.step += 1
        self.meter.add(self.step, result, rate)

    def _is_validated(self) -> bool:
        """Whether the weights of this step were looked at: not where a stop cut the validation short."""
        return any(row.step == self.step and row.val_loss is not None for row in self.meter.recent)

    def _validate(self) -> None:
        """Measure the validation loss, unless somebody asks to stop meanwhile; then a resume does it."""
        if not self.held_out:
            return
        self.meter.read()
        with self.lap("validation"), self.meter.pause():
            try:
                losses = self._validation_losses()
            except StopAsked:
                self.meter.stop = True
                return
            self.standing = self.standing.after(self.step, mean(losses), self.training.early_stopping)
            self.meter.keep(Row(self.step, val_loss=self.standing.last))
            if self.training.early_stopping.enabled and self.standing.best_step == self.step > 0:
                self._save(wait=False)

    def _validation_losses(self) -> list[float]:
        draws, seat = self.training.validation.draws, Seat(self.rank, self.world)
        with self.average.applied():
            return validation_losses(self.trainee, self.maker, self.held_out, draws, seat, self._report)

    def _paint(self) -> None:
        """Draw the pictures of this step where they are due. The other workers wait for this one in the next step."""
        if self.painter is None or self.meter.stop or not self._due(self.painter.every_steps):
            return
        with self.lap("pictures"), self.meter.pause(), self.average.applied():
            if not self.painter.draw(self.step, self._report):
                self.meter.stop = self.world == 1  # then a resume draws them; more workers stop after one more step

    def _save(self, *, wait: bool) -> None:
        """Save a checkpoint on the first worker; a loss or gradient that is not finite ends the run before that."""
        self.meter.read()
        moments = self._moments()
        if self.keeper is not None:
            self.keeper.save(self, moments, wait=wait)
        self.meter.checkpoint_step = self.step

    def _moments(self) -> dict[str, Tensor]:
        """Return the optimiser's state over all workers, where it is saved; all call it together."""
        if self.shards is not None:
            return self.shards.gathered(optimizer_tensors(self.optimizer, self.learning))
        return {} if self.keeper is None else optimizer_tensors(self.optimizer, self.learning)

    @property
    def learning(self) -> Mapping[str, Parameter]:
        """The parameters that this worker's optimiser updates."""
        return self.trainee.parameters if self.shards is None else self.shards.mine

    def _report(self, *, now: bool = False) -> bool:
        """Tell the progress unless it was just told; return whether the run should stop."""
        if not now and time.monotonic() - self.told < self.report_every_s:
            return self.asked
        self.told = time.monotonic()
        speed, eta = self.meter.pace(self.step, self.total_steps)
        self.asked = self.tell(
            Progress(
                step=self.step,
                total_steps=self.total_steps,
                epoch=(self.step * self.training.batch_size) // len(self.order),
                standing=self.standing,
                images_per_second=speed,
                eta_seconds=eta,
                rows=self.meter.take_rows(),
                checkpoint_step=self.meter.checkpoint_step,
                sample_step=None if self.painter is None else self.painter.newest,
                remark="" if self.painter is None else self.painter.take_problem(),
                parts=self.watch.read(),
                peak_memory_bytes=peak_memory(),
                peak_gpu_memory_bytes=peak_gpu_memory(self.trainee.device),
            )
        )
        return self.asked
