"""The stages `image`, `text` and `joint`, which train the two streams. Each starts from the weights of the one before."""

from __future__ import annotations

import numpy as np

from encoder.training.context import ADAPTER_SIDE, GRID_SIDE, TEXT_SIDE, TrainingContext
from encoder.training.loop import Stage
from encoder.training.objectives import ImageObjective, JointObjective, TextObjective
from encoder.training.validation import mirrored_order

TEXT_SHORT = 16


def train_image(context: TrainingContext) -> None:
    """Train the ViT's last layers, the adapter, the image projection and the bridge against the teacher's vectors."""
    settings = context.settings["image"]
    frozen_layers = context.settings["backbone"]["frozen_layers"]
    objective = ImageObjective(context.model, context.bridge, frozen_layers, settings["dropout"])
    parameters = context.parameters(*ADAPTER_SIDE, *GRID_SIDE, *context.trained_backbone)
    parameters |= {"log_scale": objective.contrast.log_scale}
    parameters |= {f"bridge.{name}": p for name, p in context.bridge.parameters_and_names()}

    def batch(step: int) -> tuple[np.ndarray, ...]:
        rng = context.rng(0, step)
        photos = pick_photos(context, rng, settings["batch"])
        rows, owners = draw_captions(context, rng, photos, rounds=2)
        trunk, cells = draw_features(context, rng, photos, settings["squares"])
        return trunk, cells, context.captions.teacher_vectors[rows].astype(np.float32), owners

    Stage("image", objective, parameters, context.schedule("image", slow=context.trained_backbone), context.folder).run(
        batch, lambda: context.validate(context.forward.adapter_inputs(context.validation.frozen), context.targets), context.say
    )
    context.store_temperature(objective.contrast.log_scale)
    store_adapter_inputs(context)


def draw_features(
    context: TrainingContext, rng: np.random.Generator, photos: np.ndarray, squares: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw trunk tokens [B, T, W] and cells [B, L, F], float32: each photo as it is or mirrored, `squares` random squares."""
    config, frozen = context.model.config, context.train.frozen
    side, skip, size = config.grid // config.merge, 1 + config.registers, config.merge**2
    mirrored, trunks, cells = mirrored_order(side), [], []
    for photo in photos:
        view = int(rng.integers(len(frozen.trunks)))
        kept = np.sort(rng.permutation(side * side)[:squares])
        patches = (skip + kept[:, None] * size + np.arange(size)).ravel()
        trunks.append(frozen.trunks[view][photo][np.concatenate([np.arange(skip), patches])])
        places = np.concatenate([[0], 1 + kept])
        cells.append(frozen.cells[photo][mirrored[places] if view else places])
    return np.stack(trunks).astype(np.float32), np.stack(cells).astype(np.float32)


def store_adapter_inputs(context: TrainingContext) -> None:
    """Compute the adapter's inputs of every photo once, and keep them on disk."""
    for name, photos in (("train", context.train), ("validation", context.validation)):
        views = []
        for view in range(len(photos.frozen.trunks)):
            path = context.folder / "features" / f"joined-{name}-{view}.npy"
            if not path.exists():
                context.say(f"tokens of the {name} photos, view {view + 1}")
                partial = path.with_suffix(".part.npy")
                np.save(partial, context.forward.adapter_inputs(photos.frozen, view))
                partial.replace(path)
            views.append(np.load(path, mmap_mode="r"))
        photos.adapter_inputs = tuple(views)


def train_text(context: TrainingContext) -> None:
    """Train the text stream against the bridged teacher, on captions and synthetic sentences."""
    size, longest = context.settings["text"]["batch"], context.captions.ids.shape[1]
    short = np.flatnonzero(context.captions.lengths <= TEXT_SHORT)
    longer = np.flatnonzero(context.captions.lengths > TEXT_SHORT)
    held_out = set(np.concatenate([np.concatenate(rows) for rows in context.validation.languages().values()]))
    short, longer = (np.array([row for row in rows if row not in held_out]) for rows in (short, longer))

    def batch(step: int) -> tuple[np.ndarray, ...]:
        rng = context.rng(1, step)
        is_short = step % 4 != 3 or len(longer) == 0
        rows = rng.choice(short if is_short else longer, size)
        length = TEXT_SHORT if is_short else longest
        return context.captions.ids[rows, :length].copy(), context.targets(rows)

    Stage("text", TextObjective(context.model), context.parameters(*TEXT_SIDE), context.schedule("text"), context.folder).run(
        batch, lambda: context.validate(context.validation.adapter_inputs[0], context.text_vectors), context.say
    )


def train_joint(context: TrainingContext) -> None:
    """Train both streams against each other (ITC), with the image backbones frozen."""
    settings = context.settings["joint"]
    objective = JointObjective(context.model, settings["dropout"], settings["stay"], settings["words"])
    parameters = context.parameters(*ADAPTER_SIDE, *TEXT_SIDE) | {
        "log_scale": objective.contrast.log_scale,
        "fine_log_scale": objective.fine_contrast.log_scale,
    }

    def batch(step: int) -> tuple[np.ndarray, ...]:
        rng = context.rng(2, step)
        photos = pick_photos(context, rng, settings["batch"])
        rows, owners = draw_captions(context, rng, photos)
        ids = context.captions.ids[rows]
        ids = ids if step % 4 == 3 else np.ascontiguousarray(ids[:, :TEXT_SHORT])
        views = context.train.adapter_inputs
        inputs = views[int(rng.integers(len(views)))][photos].astype(np.float32)
        return inputs, ids, context.captions.teacher_vectors[rows].astype(np.float32), context.targets(rows), owners

    Stage("joint", objective, parameters, context.schedule("joint"), context.folder).run(
        batch, lambda: context.validate(context.validation.adapter_inputs[0], context.text_vectors), context.say
    )
    context.store_temperature(objective.contrast.log_scale)


def pick_photos(context: TrainingContext, rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw the rows of `size` different training photos, or of all if there are fewer, in order."""
    return np.sort(rng.choice(len(context.train), min(size, len(context.train)), replace=False))


def draw_captions(
    context: TrainingContext, rng: np.random.Generator, photos: np.ndarray, rounds: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Draw two captions of each photo, `rounds` times.

    Returns:
        Rows of captions [2 * rounds * B], and the position of each one's photo in `photos`, int32 [2 * rounds * B].
    """
    rows = [np.array([context.train.draw(int(photo), rng) for photo in photos]).T.ravel() for _ in range(rounds)]
    return np.concatenate(rows), np.tile(np.arange(len(photos), dtype=np.int32), 2 * rounds)
