"""The stages `image`, `text` and `joint`: two streams that meet. Each takes what the one before it left."""

from __future__ import annotations

import numpy as np

from encoder.training.context import ADAPTER_SIDE, GRID_SIDE, TEXT_SIDE, TrainingContext
from encoder.training.loop import Stage
from encoder.training.objectives import ImageObjective, JointObjective, TextObjective
from encoder.training.validation import mirrored_cells

TEXT_SHORT = 16


def train_image(shop: TrainingContext) -> None:
    """The ViT's last layers, the adapter, the image projection and the bridge against the teacher's vectors of captions."""
    settings = shop.settings["image"]
    objective = ImageObjective(shop.model, shop.bridge, shop.settings["backbone"]["frozen_layers"], settings["dropout"])
    parameters = shop.parameters(*ADAPTER_SIDE, *GRID_SIDE, *shop.tuned) | {"log_scale": objective.contrast.log_scale}
    parameters |= {f"bridge.{name}": p for name, p in shop.bridge.parameters_and_names()}

    def batch(step: int):
        rng = shop.rng(0, step)
        photos = pick_photos(shop, rng, settings["batch"])
        rows, owners = draw_captions(shop, rng, photos, rounds=2)
        return *look(shop, rng, photos, settings["squares"]), shop.captions.meanings[rows].astype(np.float32), owners

    Stage("image", objective, parameters, shop.schedule("image", slow=shop.tuned), shop.folder).run(
        batch, lambda: shop.validate(shop.views.joined(shop.validation.frozen), shop.targets), shop.say
    )
    shop.keep_scale(objective.contrast.log_scale)
    keep_tokens(shop)


def look(shop: TrainingContext, rng: np.random.Generator, photos: np.ndarray, squares: int) -> tuple[np.ndarray, np.ndarray]:
    """Trunk tokens and cells, float32, of photos: as they are or mirrored, and only some random squares of each."""
    config, frozen = shop.model.config, shop.train.frozen
    side, skip, size = config.grid // config.merge, 1 + config.registers, config.merge**2
    mirrored, trunks, cells = mirrored_cells(side), [], []
    for photo in photos:
        view = int(rng.integers(len(frozen.trunks)))
        kept = np.sort(rng.permutation(side * side)[:squares])
        patches = (skip + kept[:, None] * size + np.arange(size)).ravel()
        trunks.append(frozen.trunks[view][photo][np.concatenate([np.arange(skip), patches])])
        places = np.concatenate([[0], 1 + kept])
        cells.append(frozen.cells[photo][mirrored[places] if view else places])
    return np.stack(trunks).astype(np.float32), np.stack(cells).astype(np.float32)


def keep_tokens(shop: TrainingContext) -> None:
    """Compute what the adapter reads of every photo, once and for all, and keep it on disk."""
    for name, album in (("train", shop.train), ("validation", shop.validation)):
        views = []
        for view in range(len(album.frozen.trunks)):
            path = shop.folder / "features" / f"joined-{name}-{view}.npy"
            if not path.exists():
                shop.say(f"tokens of the {name} photos, view {view + 1}")
                partial = path.with_suffix(".part.npy")
                np.save(partial, shop.views.joined(album.frozen, view))
                partial.replace(path)
            views.append(np.load(path, mmap_mode="r"))
        album.tokens = tuple(views)


def train_text(shop: TrainingContext) -> None:
    """The text stream against the bridged teacher, on captions and imagined sentences, short ones and longer ones."""
    size, longest = shop.settings["text"]["batch"], shop.captions.ids.shape[1]
    short = np.flatnonzero(shop.captions.lengths <= TEXT_SHORT)
    longer = np.flatnonzero(shop.captions.lengths > TEXT_SHORT)
    held_out = set(np.concatenate([np.concatenate(rows) for rows in shop.validation.languages().values()]))
    short, longer = (np.array([row for row in rows if row not in held_out]) for rows in (short, longer))

    def batch(step: int):
        rng = shop.rng(1, step)
        is_short = step % 4 != 3 or len(longer) == 0
        rows = rng.choice(short if is_short else longer, size)
        length = TEXT_SHORT if is_short else longest
        return shop.captions.ids[rows, :length].copy(), shop.targets(rows)

    Stage("text", TextObjective(shop.model), shop.parameters(*TEXT_SIDE), shop.schedule("text"), shop.folder).run(
        batch, lambda: shop.validate(shop.validation.tokens[0], shop.read), shop.say
    )


def train_joint(shop: TrainingContext) -> None:
    """Both streams against each other (ITC), the ViT at rest."""
    settings = shop.settings["joint"]
    objective = JointObjective(shop.model, settings["dropout"], settings["stay"], settings["words"])
    parameters = shop.parameters(*ADAPTER_SIDE, *TEXT_SIDE) | {
        "log_scale": objective.contrast.log_scale,
        "fine_log_scale": objective.fine_contrast.log_scale,
    }

    def batch(step: int):
        rng = shop.rng(2, step)
        photos = pick_photos(shop, rng, settings["batch"])
        rows, owners = draw_captions(shop, rng, photos)
        ids = shop.captions.ids[rows]
        ids = ids if step % 4 == 3 else np.ascontiguousarray(ids[:, :TEXT_SHORT])
        tokens = shop.train.tokens[int(rng.integers(len(shop.train.tokens)))][photos].astype(np.float32)
        return tokens, ids, shop.captions.meanings[rows].astype(np.float32), shop.targets(rows), owners

    Stage("joint", objective, parameters, shop.schedule("joint"), shop.folder).run(
        batch, lambda: shop.validate(shop.validation.tokens[0], shop.read), shop.say
    )
    shop.keep_scale(objective.contrast.log_scale)


def pick_photos(shop: TrainingContext, rng: np.random.Generator, size: int) -> np.ndarray:
    """Rows of `size` different training photos, or of all there are."""
    return np.sort(rng.choice(len(shop.train), min(size, len(shop.train)), replace=False))


def draw_captions(shop: TrainingContext, rng: np.random.Generator, photos: np.ndarray, rounds: int = 1):
    """Rows [2 * rounds * B] of captions, in both languages where there are both, and their owners int32 (places in photos)."""
    rows = [np.array([shop.train.draw(int(photo), rng) for photo in photos]).T.ravel() for _ in range(rounds)]
    return np.concatenate(rows), np.tile(np.arange(len(photos), dtype=np.int32), 2 * rounds)
