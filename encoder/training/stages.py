"""The stages a training is made of: `image`, `text`, `joint`, `match`. Each takes what the ones before it left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from encoder.network import OptModel
from encoder.training.corpus import Album, Captions
from encoder.training.loop import Schedule, Stage
from encoder.training.objectives import MAX_LOG_SCALE, Bridge, ImageObjective, JointObjective, MatchObjective, TextObjective
from encoder.training.validation import Reranking, Views, recall

TEXT_SHORT = 16
SAME_MEANING = 0.85
RERANK_SAMPLE = 100


@dataclass
class Workshop:
    """What all stages share. `say` takes one line for the person who waits."""

    model: OptModel
    views: Views
    bridge: Bridge
    captions: Captions
    train: Album
    validation: Album
    folder: Path
    settings: dict
    say: Callable[[str], None]

    def schedule(self, stage: str) -> Schedule:
        values = self.settings[stage]
        steps = values["steps"]
        return Schedule(steps=steps, rate=values["rate"], decay=values["decay"], warmup=max(1, min(100, steps // 10)),
                        validate_every=max(1, min(150, steps // 4)))

    def rng(self, stage: int, step: int) -> np.random.Generator:
        return np.random.default_rng([self.settings["seed"], stage, step])

    def parameters(self, *starts: str) -> dict[str, Parameter]:
        return {name: p for name, p in self.model.parameters_and_names() if name.startswith(starts)}

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors [n, D] of captions as the bridged teacher sees them."""
        weight, bias = self.bridge.map.weight.asnumpy(), self.bridge.map.bias.asnumpy()
        bridged = self.captions.meanings[rows].astype(np.float32) @ weight.T + bias
        return bridged / np.linalg.norm(bridged, axis=1, keepdims=True)


IMAGE_SIDE = ("uniter.img_embeddings.adapter.", "vision_proj.")
TEXT_SIDE = ("cls.predictions.", "uniter.embeddings.", "text_proj.")
MATCH_SIDE = ("uniter.encoder.", "itm_head_two.")


def train_image(shop: Workshop) -> None:
    """Adapter, image projection and bridge against the teacher's vectors of the captions."""
    objective = ImageObjective(shop.model, shop.bridge, shop.settings["image"]["dropout"])
    parameters = shop.parameters(*IMAGE_SIDE) | {"log_scale": objective.contrast.log_scale}
    parameters |= {f"bridge.{name}": p for name, p in shop.bridge.parameters_and_names()}

    def batch(step: int):
        features, rows, owners = _photos(shop, 0, step, shop.settings["image"]["batch"])
        return features, shop.captions.meanings[rows].astype(np.float32), owners

    Stage("image", objective, parameters, shop.schedule("image"), shop.folder).run(
        batch, lambda: _validate(shop, shop.targets), shop.say)
    _keep_scale(shop.model, objective.contrast.log_scale)


def train_text(shop: Workshop) -> None:
    """The text stream against the bridged teacher, on captions and imagined sentences, short ones and longer ones."""
    size, longest = shop.settings["text"]["batch"], shop.captions.ids.shape[1]
    short = np.flatnonzero(shop.captions.lengths <= TEXT_SHORT)
    longer = np.flatnonzero(shop.captions.lengths > TEXT_SHORT)
    held_out = set(np.concatenate([np.concatenate(rows) for rows in _languages(shop.validation).values()]))
    short, longer = (np.array([row for row in rows if row not in held_out]) for rows in (short, longer))

    def batch(step: int):
        rng = shop.rng(1, step)
        is_short = step % 4 != 3 or len(longer) == 0
        rows = rng.choice(short if is_short else longer, size)
        length = TEXT_SHORT if is_short else longest
        return shop.captions.ids[rows, :length].copy(), shop.targets(rows)

    Stage("text", TextObjective(shop.model), shop.parameters(*TEXT_SIDE), shop.schedule("text"), shop.folder).run(
        batch, lambda: _validate(shop, lambda rows: shop.views.texts(shop.captions.ids[rows])), shop.say)


def train_joint(shop: Workshop) -> None:
    """Both streams against each other (ITC)."""
    settings = shop.settings["joint"]
    objective = JointObjective(shop.model, settings["dropout"], settings["stay"])
    parameters = shop.parameters(*IMAGE_SIDE, *TEXT_SIDE) | {"log_scale": objective.contrast.log_scale}

    def batch(step: int):
        features, rows, owners = _photos(shop, 2, step, settings["batch"])
        meanings = shop.captions.meanings[rows].astype(np.float32)
        return features, shop.captions.ids[rows], meanings, shop.targets(rows), owners

    Stage("joint", objective, parameters, shop.schedule("joint"), shop.folder).run(
        batch, lambda: _validate(shop, lambda rows: shop.views.texts(shop.captions.ids[rows])), shop.say)
    _keep_scale(shop.model, objective.contrast.log_scale)


def train_match(shop: Workshop) -> None:
    """Fusion and ITM head on the near misses of the first stage, mined among all training photos."""
    settings = shop.settings["match"]
    weight = float(np.exp(shop.model.clip_loss.clip_temp.asnumpy()))
    tokens, images = shop.views.images(shop.train.features)
    tokens = tokens.astype(np.float16)
    captions, owners = _chosen(shop)
    misses = _mine(shop, images, captions, owners, settings["mined"])
    objective = MatchObjective(shop.model, settings["candidates"], weight)

    def batch(step: int):
        rng = shop.rng(3, step)
        picks = rng.choice(len(captions), settings["batch"], replace=False)
        wrong = np.stack([rng.choice(misses[i], settings["candidates"] - 1, replace=False) for i in picks])
        photos = np.concatenate([owners[picks, None], wrong], 1).ravel()
        return shop.captions.ids[captions[picks]], tokens[photos].astype(np.float32)

    Stage("match", objective, shop.parameters(*MATCH_SIDE), shop.schedule("match"), shop.folder).run(
        batch, lambda: _validate_match(shop, weight), shop.say)


def choose_first_stage_weight(shop: Workshop) -> float:
    """The weight of the first-stage similarity in the re-ranked score that is best on a sample of val, in both languages."""
    rerankings = _rerankings(shop, sample=400)
    weights = [0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 250.0, 1000.0]
    value = {w: np.mean([r.recall(w, k) for r in rerankings.values() for k in (1, 5, 10)]) for w in weights}
    best = max(weights, key=value.__getitem__)
    shop.say("first-stage weight  " + "  ".join(f"{w:g}: {value[w]:.1f}" for w in weights) + f"  -> {best:g}")
    return best


def _photos(shop: Workshop, stage: int, step: int, size: int):
    """Features float32 [B, L, H], caption rows [2B] and their owners int32 [2B]."""
    rng = shop.rng(stage, step)
    photos = np.sort(rng.choice(len(shop.train), min(size, len(shop.train)), replace=False))
    rows = np.array([shop.train.draw(int(photo), rng) for photo in photos]).T.ravel()
    owners = np.tile(np.arange(len(photos), dtype=np.int32), 2)
    return np.asarray(shop.train.features[photos], np.float32), rows, owners


def _keep_scale(model: OptModel, log_scale: Parameter) -> None:
    model.clip_loss.clip_temp.set_data(Tensor(min(float(log_scale.asnumpy()[0]), MAX_LOG_SCALE), ms.float32))


def _languages(album: Album) -> dict[str, list[np.ndarray]]:
    sets = {"en": album.english, "zh": album.chinese, "zh-mt": album.translated}
    return {name: rows for name, rows in sets.items() if any(len(r) for r in rows)}


def _validate(shop: Workshop, vectors_of: Callable[[np.ndarray], np.ndarray]) -> dict:
    """R@1 and R@10 text to image, first caption of each photo, by language."""
    _, images = shop.views.images(shop.validation.features)
    figures = {}
    for name, rows in _languages(shop.validation).items():
        right = np.array([i for i, r in enumerate(rows) if len(r)])
        similarities = vectors_of(np.array([rows[i][0] for i in right])) @ images.T
        for k in (1, 10):
            figures[f"{name} R@{k}"] = recall(similarities, right, k)
    return figures


def _rerankings(shop: Workshop, sample: int) -> dict[str, Reranking]:
    tokens, images = shop.views.images(shop.validation.features)
    out = {}
    for name, rows in _languages(shop.validation).items():
        right = np.array([i for i, r in enumerate(rows) if len(r)])
        right = np.sort(np.random.default_rng(shop.settings["seed"]).permutation(right)[:sample])
        captions = shop.captions.ids[[rows[i][-1] for i in right]]
        out[name] = Reranking(shop.views, tokens, images, captions, right)
    return out


def _validate_match(shop: Workshop, weight: float) -> dict:
    figures = {}
    for name, reranking in _rerankings(shop, RERANK_SAMPLE).items():
        figures[f"{name} first R@1"] = recall(reranking.similarities, reranking.right, 1)
        figures[f"{name} R@1"] = reranking.recall(weight, 1)
    return figures


def _chosen(shop: Workshop) -> tuple[np.ndarray, np.ndarray]:
    """The captions that the cross-modal encoder trains on, and the photo of each."""
    rng, settings = shop.rng(4, 0), shop.settings["match"]
    rows, owners = [], []
    for photo in range(len(shop.train)):
        for kind in ("english", "chinese", "translated"):
            own = getattr(shop.train, kind)[photo]
            picked = rng.choice(own, min(len(own), settings[kind]), replace=False) if len(own) else []
            rows.extend(picked)
            owners.extend([photo] * len(picked))
    return np.array(rows, np.int64), np.array(owners, np.int64)


def _mine(shop: Workshop, images: np.ndarray, captions: np.ndarray, owners: np.ndarray, count: int) -> np.ndarray:
    """For each caption the `count` nearest photos [n, count] but its own and those with a caption of the same meaning."""
    texts = shop.views.texts(shop.captions.ids[captions])
    album = shop.train
    belonging = [np.concatenate([album.english[i], album.chinese[i], album.translated[i]]) for i in range(len(album))]
    meanings = shop.captions.meanings.astype(np.float32)
    misses = np.empty((len(captions), count), np.int64)
    for start in range(0, len(captions), 512):
        similar = texts[start:start + 512] @ images.T
        similar[np.arange(len(similar)), owners[start:start + 512]] = -np.inf
        nearest = np.argsort(-similar, axis=1)[:, :2 * count]
        for i, photos in enumerate(nearest, start):
            said = meanings[captions[i]]
            kept = [p for p in photos if (meanings[belonging[p]] @ said).max(initial=0) < SAME_MEANING]
            misses[i] = (kept + [p for p in photos if p not in kept])[:count]
    return misses
