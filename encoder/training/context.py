"""The context that all stages of a training share: model, data and settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from encoder.network.opt import OptModel
from encoder.training.corpus import CaptionedPhotos, Captions
from encoder.training.loop import Schedule
from encoder.training.objectives import MAX_LOG_SCALE, Bridge
from encoder.training.validation import ForwardPasses, recall

Settings = dict[str, Any]

ADAPTER_SIDE = ("uniter.img_embeddings.adapter.", "vision_proj.")
GRID_SIDE = ("uniter.img_embeddings.img_linear.", "uniter.img_embeddings.img_layer_norm.")
TEXT_SIDE = ("cls.predictions.", "uniter.embeddings.", "text_proj.")
MATCH_SIDE = ("uniter.encoder.", "itm_head_two.")


@dataclass
class TrainingContext:
    """The model, the data and the settings of a training.

    Attributes:
        model: the model that is trained.
        forward: its compiled forward passes.
        bridge: the map from the teacher's space to the contrastive space.
        captions: all sentences.
        train: the photos to train on.
        validation: the photos to validate on.
        folder: where states and the log go.
        settings: the contents of `opt-mini.toml`, `fine-tuning.toml` or the user's own file.
        say: prints a line for the user.
    """

    model: OptModel
    forward: ForwardPasses
    bridge: Bridge
    captions: Captions
    train: CaptionedPhotos
    validation: CaptionedPhotos
    folder: Path
    settings: Settings
    say: Callable[[str], None]

    @property
    def trained_backbone(self) -> tuple[str, ...]:
        """Prefixes of the names of the ViT's trained parameters: its last layers and its last norm."""
        vit, first = "uniter.img_embeddings.vit.", self.settings["backbone"]["frozen_layers"]
        layers = range(first, self.model.config.image_layers)
        return (f"{vit}post_layernorm.", *(f"{vit}encoder.layers.{i}." for i in layers))

    def schedule(self, stage: str, slow: tuple[str, ...] = ()) -> Schedule:
        """Make a stage's schedule from its settings, which give either `steps` or `epochs`. `slow`: see Schedule."""
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
        """Create the random generator of a step. It gives the same numbers whenever the step is run."""
        return np.random.default_rng([self.settings["seed"], stage, step])

    def parameters(self, *starts: str) -> dict[str, Parameter]:
        """List the model's parameters whose names begin with one of `starts`."""
        return {name: p for name, p in self.model.parameters_and_names() if name.startswith(starts)}

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Compute the bridged teacher's unit vectors [n, D] of captions."""
        weight, bias = self.bridge.map.weight.asnumpy(), self.bridge.map.bias.asnumpy()
        bridged = self.captions.teacher_vectors[rows].astype(np.float32) @ weight.T + bias
        return bridged / np.linalg.norm(bridged, axis=1, keepdims=True)

    def text_vectors(self, rows: np.ndarray) -> np.ndarray:
        """Compute the text stream's unit vectors [n, D] of captions."""
        return self.forward.texts(self.captions.ids[rows])

    def store_temperature(self, log_scale: Parameter) -> None:
        """Store the learnt temperature in the model, bounded."""
        self.model.clip_loss.clip_temp.set_data(Tensor(min(float(log_scale.asnumpy()[0]), MAX_LOG_SCALE), ms.float32))

    def validate(self, adapter_inputs: np.ndarray, vectors_of: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """Compute R@1 and R@10, text to image, of the first caption of each validation photo, by language.

        Args:
            adapter_inputs: of the validation photos [n, L, H].
            vectors_of: computes unit vectors [q, D] of rows of captions [q].
        """
        _, images = self.forward.images(adapter_inputs)
        metrics = {}
        for name, rows in self.validation.languages().items():
            right = np.array([i for i, r in enumerate(rows) if len(r)])
            similarities = vectors_of(np.array([rows[i][0] for i in right])) @ images.T
            for k in (1, 10):
                metrics[f"{name} R@{k}"] = recall(similarities, right, k)
        return metrics
