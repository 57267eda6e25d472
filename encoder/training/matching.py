"""The stage `match`: the cross-modal encoder learns to tell who belongs together among photos that are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mindspore import Tensor

from encoder.network.opt import OptModel
from encoder.training.context import MATCH_SIDE, TrainingContext
from encoder.training.loop import Stage
from encoder.training.objectives import MatchObjective
from encoder.training.stages import TEXT_SHORT
from encoder.training.validation import Reranking, recall

SAME_MEANING = 0.85
WATCHED = 300
CHOSEN_ON = 400
FEWEST = 100
WEIGHTS = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 250.0)


@dataclass(frozen=True)
class Neighbours:
    """What a group is drawn from: stored tokens [n, L, H] float16 of each view, and the photos nearest to each [n, N]."""

    tokens: tuple[np.ndarray, ...]
    nearest: np.ndarray


def train_match(shop: TrainingContext) -> None:
    """Fusion and ITM head on groups of a photo and photos near it, each with one of its captions."""
    settings = shop.settings["match"]
    size = min(settings["group"], len(shop.train))
    neighbours = find_neighbours(shop, settings["nearest"])
    objective = MatchObjective(shop.model, size, settings["dropout"])
    if settings.get("begin_with_words"):
        look_where_words_meet(shop.model, settings["begin_with_words"])

    def batch(step: int):
        rng = shop.rng(3, step)
        short = step % 4 != 3
        groups = [draw_group(shop, neighbours, rng, size, short) for _ in range(settings["groups"])]
        ids, tokens, unsure = zip(*groups, strict=True)
        ids = np.concatenate(ids)[:, : TEXT_SHORT if short else None]
        return np.ascontiguousarray(ids), np.concatenate(tokens).astype(np.float32), np.stack(unsure)

    Stage("match", objective, shop.parameters(*MATCH_SIDE), shop.schedule("match"), shop.folder).run(
        batch, lambda: validate_match(shop), shop.say
    )


def look_where_words_meet(model: OptModel, sharpness: float) -> None:
    """Begin every cross-attention with what `joint` taught words and places: queries and keys are the two projections.

    `sharpness` is about how far the scores of a good and a bad place lie apart at first.
    """
    heads, width = model.config.text_heads, model.config.hidden_size
    if model.config.dim < width:
        return
    for block in model.uniter.encoder.decoder.blocks:
        attention = block.cross_attention
        for ours, projection in ((attention.dense1, model.text_proj), (attention.dense2, model.vision_proj)):
            weight, bias = projection.weight.asnumpy()[:width], projection.bias.asnumpy()[:width]
            # a query is made of a normalised state: rows of unit scale give it about this length
            length = np.sqrt((weight**2).sum())
            scale = np.sqrt(sharpness * heads * np.sqrt(width / heads)) / length
            ours.weight.set_data(Tensor(weight * scale))
            ours.bias.set_data(Tensor(bias * scale))


def find_neighbours(shop: TrainingContext, count: int) -> Neighbours:
    """The photos that the first stage holds for alike: the `count` nearest of each in the contrastive space."""
    stored = [shop.views.images(tokens) for tokens in shop.train.tokens]
    vectors = stored[0][1]
    nearest = np.empty((len(vectors), min(count, len(vectors) - 1)), np.int32)
    for start in range(0, len(vectors), 1024):
        similar = vectors[start : start + 1024] @ vectors.T
        similar[np.arange(len(similar)), np.arange(start, start + len(similar))] = -np.inf
        nearest[start : start + 1024] = np.argpartition(-similar, nearest.shape[1] - 1, axis=1)[:, : nearest.shape[1]]
    return Neighbours(tuple(tokens.astype(np.float16) for tokens, _ in stored), nearest)


def draw_group(shop: TrainingContext, neighbours: Neighbours, rng: np.random.Generator, size: int, short: bool):
    """ids [size, T], tokens [size, L, H], unsure [size, size]: a random photo, photos near it, a caption of each."""
    anchor = int(rng.integers(len(shop.train)))
    photos = np.concatenate([[anchor], rng.choice(neighbours.nearest[anchor], size - 1, replace=False)])
    captions = np.array([_caption(shop, int(photo), rng, short) for photo in photos])
    view = int(rng.integers(len(neighbours.tokens)))
    meanings = shop.captions.meanings[captions].astype(np.float32)
    unsure = (meanings @ meanings.T > SAME_MEANING).astype(np.float32)
    return shop.captions.ids[captions], neighbours.tokens[view][photos], unsure


def _caption(shop: TrainingContext, photo: int, rng: np.random.Generator, short: bool) -> int:
    """One caption of a photo, in either language; of a few draws, one that is as short as asked for."""
    for _ in range(4):
        drawn = shop.train.draw(photo, rng)[int(rng.integers(2))]
        if not short or shop.captions.lengths[drawn] <= TEXT_SHORT:
            break
    return drawn


def choose_weight(shop: TrainingContext) -> dict:
    """The weight of the first-stage similarity in the re-ranked score that is best on val over all languages, as a field of
    the config. Nothing where val has too few captions."""
    found = [*rerankings(shop, sample=CHOSEN_ON).values()]
    asked = sum(len(r.right) for r in found)
    if asked < FEWEST:
        shop.say(f"{asked} captions to validate with are too few to choose a weight by: that of the model stays")
        return {}
    value = {w: np.mean([r.recall(w, k) for r in found for k in (1, 5, 10)]) for w in WEIGHTS}
    best = max(WEIGHTS, key=value.__getitem__)
    shop.say("first-stage weight  " + "  ".join(f"{w:g}: {value[w]:.1f}" for w in WEIGHTS) + f"  -> {best:g}")
    return {"first_stage_weight": best}


def rerankings(shop: TrainingContext, sample: int) -> dict[str, Reranking]:
    """What the cross-modal encoder says of the first stage's best, for the last caption of a sample of val, by language."""
    tokens, images = shop.views.images(shop.validation.tokens[0])
    out = {}
    for name, rows in shop.validation.languages().items():
        right = np.array([i for i, r in enumerate(rows) if len(r)])
        right = np.sort(np.random.default_rng(shop.settings["seed"]).permutation(right)[:sample])
        captions = shop.captions.ids[[rows[i][-1] for i in right]]
        out[name] = Reranking(shop.views, tokens, images, captions, right)
    return out


def validate_match(shop: TrainingContext) -> dict:
    """R@1 of a sample: first stage, match logit alone, and with the first stage at the weight that is best for it."""
    figures = {}
    for name, reranking in rerankings(shop, WATCHED).items():
        figures[f"{name} first R@1"] = recall(reranking.similarities, reranking.right, 1)
        figures[f"{name} match R@1"] = reranking.recall(0.0, 1)
        figures[f"{name} R@1"] = max(reranking.recall(weight, 1) for weight in WEIGHTS)
    return figures
