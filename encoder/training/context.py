"""What all stages of a training share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from encoder.network.opt import OptModel
from encoder.training.corpus import Album, Captions
from encoder.training.loop import Schedule
from encoder.training.objectives import MAX_LOG_SCALE, Bridge
from encoder.training.validation import Views, recall

ADAPTER_SIDE = ("uniter.img_embeddings.adapter.", "vision_proj.")
GRID_SIDE = ("uniter.img_embeddings.img_linear.", "uniter.img_embeddings.img_layer_norm.")
TEXT_SIDE = ("cls.predictions.", "uniter.embeddings.", "text_proj.")
MATCH_SIDE = ("uniter.encoder.", "itm_head_two.")


@dataclass
class TrainingContext:
    """The model, the data and the settings. `say` takes one line for the person who waits."""

    model: OptModel
    views: Views
    bridge: Bridge
    captions: Captions
    train: Album
    validation: Album
    folder: Path
    settings: dict
    say: Callable[[str], None]

    @property
    def tuned(self) -> tuple[str, ...]:
        """Names of the backbone's parameters that are trained: its last layers and its last norm."""
        vit, first = "uniter.img_embeddings.vit.", self.settings["backbone"]["frozen_layers"]
        layers = range(first, self.model.config.image_layers)
        return (f"{vit}post_layernorm.", *(f"{vit}encoder.layers.{i}." for i in layers))

    def schedule(self, stage: str, slow: tuple[str, ...] = ()) -> Schedule:
        """The schedule that the settings give a stage: so many steps, or so many times over all photos."""
        values = self.settings[stage]
        batch = values.get("batch") or values["groups"] * values["group"]
        steps = values.get("steps") or max(1, round(values["epochs"] * len(self.train) / batch))
        return Schedule(
            steps=steps,
            rate=values["rate"],
            decay=values["decay"],
            warmup=max(1, min(100, steps // 10)),
            slow=slow,
            slow_rate=values.get("slow_rate", 0.0),
            validate_every=max(1, steps // 6),
        )

    def rng(self, stage: int, step: int) -> np.random.Generator:
        """The random numbers of one step, the same whenever it is run."""
        return np.random.default_rng([self.settings["seed"], stage, step])

    def parameters(self, *starts: str) -> dict[str, Parameter]:
        """The model's parameters whose names begin so."""
        return {name: p for name, p in self.model.parameters_and_names() if name.startswith(starts)}

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors [n, D] of captions as the bridged teacher sees them."""
        weight, bias = self.bridge.map.weight.asnumpy(), self.bridge.map.bias.asnumpy()
        bridged = self.captions.meanings[rows].astype(np.float32) @ weight.T + bias
        return bridged / np.linalg.norm(bridged, axis=1, keepdims=True)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors [n, D] of captions as the text stream sees them."""
        return self.views.texts(self.captions.ids[rows])

    def keep_scale(self, log_scale: Parameter) -> None:
        """Put the learnt temperature into the model, bounded."""
        self.model.clip_loss.clip_temp.set_data(Tensor(min(float(log_scale.asnumpy()[0]), MAX_LOG_SCALE), ms.float32))

    def validate(self, tokens: np.ndarray, vectors_of: Callable[[np.ndarray], np.ndarray]) -> dict:
        """R@1 and R@10 text to image on the validation photos, first caption of each, by language.

        `tokens` are what the adapter reads of these photos.
        """
        _, images = self.views.images(tokens)
        figures = {}
        for name, rows in self.validation.languages().items():
            right = np.array([i for i, r in enumerate(rows) if len(r)])
            similarities = vectors_of(np.array([rows[i][0] for i in right])) @ images.T
            for k in (1, 10):
                figures[f"{name} R@{k}"] = recall(similarities, right, k)
        return figures
