"""A stage of a training: steps, schedule, moving average, saved states, log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

SAVE_SECONDS = 120
AVERAGE_EVERY = 5
Validate = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Schedule:
    """The schedule of a stage: AdamW with warm-up and cosine decay.

    Attributes:
        steps: the number of steps.
        rate: the highest learning rate.
        slow: parameters whose names begin so have `slow_rate` instead.
        slow_rate: the highest learning rate of `slow`.
        warmup: the number of steps until the highest rate.
        decay: the weight decay of matrices.
        clip: the largest global norm of the gradients.
        average: the decay of the moving average of the parameters, once in AVERAGE_EVERY steps.
        validate_every: the number of steps between two validations.
    """

    steps: int
    rate: float
    slow: tuple[str, ...] = ()
    slow_rate: float = 0.0
    warmup: int = 50
    decay: float = 0.01
    clip: float = 1.0
    average: float = 0.98
    validate_every: int = 200


class _WarmCosine(nn.learning_rate_schedule.LearningRateSchedule):
    def __init__(self, schedule: Schedule, rate: float):
        super().__init__()
        self.rate, self.warmup, self.steps = rate, float(schedule.warmup), float(schedule.steps)

    def construct(self, global_step: Tensor) -> Tensor:
        step = global_step.astype(ms.float32)
        warm = ops.minimum((step + 1.0) / self.warmup, Tensor(1.0, ms.float32))
        return self.rate * warm * 0.5 * (1.0 + ops.cos(3.14159265 * ops.minimum(step / self.steps, Tensor(1.0, ms.float32))))


class _Step(nn.Cell):
    def __init__(self, objective: nn.Cell, optimizer: nn.Optimizer, clip: float):
        super().__init__()
        self.optimizer, self.clip = optimizer, clip
        self.grad = ops.value_and_grad(objective, None, optimizer.parameters)

    def construct(self, *batch: Tensor) -> Tensor:
        loss, grads = self.grad(*batch)
        grads = ops.clip_by_global_norm(grads, self.clip)
        return ops.depend(loss, self.optimizer(grads))


class Stage:
    """Minimises one objective over deterministic batches, and resumes at the last saved step.

    The parameters end as their exponential moving average.
    """

    def __init__(self, name: str, objective: nn.Cell, parameters: dict[str, Parameter], schedule: Schedule, folder: Path):
        self.name, self.schedule, self.folder = name, schedule, folder
        self.parameters = parameters
        self.objective = objective.set_train(True)
        groups = _groups(parameters, schedule)
        self.optimizer = nn.AdamWeightDecay(
            groups, learning_rate=_WarmCosine(schedule, schedule.rate), beta1=0.9, beta2=0.98, eps=1e-8
        )
        self.state_path = folder / f"{name}.state.npz"
        self.average: dict[str, np.ndarray] = {}
        self.step = 0
        self.seconds = 0.0

    def run(self, batch: Callable[[int], tuple[np.ndarray, ...]], validate: Validate, say: Callable[[str], None]) -> None:
        """Train to the end of the schedule; return at once if an earlier run got there.

        Args:
            batch: gives the arrays of a step; must depend on nothing but the step.
            validate: computes metrics.
            say: prints a line for the user.
        """
        self._resume()
        step_cell = _Step(self.objective, self.optimizer, self.schedule.clip)
        begun, saved = time.monotonic() - self.seconds, self.seconds
        losses: list[float] = []
        while self.step < self.schedule.steps:
            loss = step_cell(*(Tensor(array) for array in batch(self.step)))
            losses.append(float(loss.asnumpy()))
            self.step += 1
            self.seconds = time.monotonic() - begun
            self._average()
            last = self.step == self.schedule.steps
            if self.step % self.schedule.validate_every == 0 or last:
                self._report(losses, validate, say)
                losses = []
            if last or self.seconds - saved > SAVE_SECONDS:
                self._save()
                saved = self.seconds
        self._use_average()

    def _report(self, losses: list[float], validate: Validate, say: Callable[[str], None]) -> None:
        left = self.seconds / self.step * (self.schedule.steps - self.step)
        current = {name: p.asnumpy().copy() for name, p in self.parameters.items()}
        self._use_average()
        metrics = validate()
        for name, value in current.items():
            self.parameters[name].set_data(Tensor(value))
        row = {"stage": self.name, "step": self.step, "loss": float(np.mean(losses)), "seconds": round(self.seconds, 1)}
        row |= metrics
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        shown = "  ".join(f"{key} {value:.1f}" for key, value in metrics.items())
        say(f"{self.name} {self.step}/{self.schedule.steps}  loss {row['loss']:.3f}  {shown}  {left / 60:.1f} min left")

    def _average(self) -> None:
        if self.step % AVERAGE_EVERY and self.step != self.schedule.steps:
            return
        keep = min(self.schedule.average, self.step / (self.step + 10 * AVERAGE_EVERY))
        for name, parameter in self.parameters.items():
            value = parameter.asnumpy()
            if name in self.average:
                self.average[name] += (1 - keep) * (value - self.average[name])
            else:
                self.average[name] = value.copy()

    def _use_average(self) -> None:
        for name, value in self.average.items():
            self.parameters[name].set_data(Tensor(value))

    def _save(self) -> None:
        arrays = {f"parameter/{name}": p.asnumpy() for name, p in self.parameters.items()}
        arrays |= {f"average/{name}": value for name, value in self.average.items()}
        arrays |= {f"optimizer/{i}": p.asnumpy() for i, p in enumerate(self._optimizer_state())}
        partial = self.state_path.with_suffix(".part.npz")
        np.savez(partial, step=self.step, seconds=self.seconds, **arrays)
        partial.replace(self.state_path)

    def _resume(self) -> None:
        if not self.state_path.exists():
            return
        with np.load(self.state_path) as state:
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            for name, parameter in self.parameters.items():
                parameter.set_data(Tensor(state[f"parameter/{name}"]))
                self.average[name] = state[f"average/{name}"]
            for i, parameter in enumerate(self._optimizer_state()):
                parameter.set_data(Tensor(state[f"optimizer/{i}"]))

    def _optimizer_state(self) -> list[Parameter]:
        moments = list(self.optimizer.moments1) + list(self.optimizer.moments2)
        return [*moments, self.optimizer.global_step]


def _groups(parameters: dict[str, Parameter], schedule: Schedule) -> list[dict]:
    """Group parameters by weight decay and rate. Biases, norms, word tables and the temperature have no weight decay."""
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for name, parameter in parameters.items():
        decayed = parameter.ndim > 1 and "embedding" not in name and "decoder.weight" not in name
        rate = schedule.slow_rate if schedule.slow and name.startswith(schedule.slow) else schedule.rate
        groups.setdefault((schedule.decay if decayed else 0.0, rate), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "lr": _WarmCosine(schedule, rate)}
        for (decay, rate), members in groups.items()
    ]
