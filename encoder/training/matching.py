"""The stage `match`: the cross-modal encoder learns which caption belongs to which of several similar photos."""

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

SAME_MEANING_COSINE = 0.85
VALIDATION_SAMPLE = 300
WEIGHT_SAMPLE = 400
FEWEST_CAPTIONS = 100
WEIGHTS = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 250.0)


@dataclass(frozen=True)
class Neighbours:
    """The photos that are nearest to each photo; groups are drawn from them.

    Attributes:
        tokens: image tokens float16 [n, L, H] of each view.
        nearest: rows of the nearest photos int32 [n, N].
    """

    tokens: tuple[np.ndarray, ...]
    nearest: np.ndarray


def train_match(context: TrainingContext) -> None:
    """Train the cross-modal encoder and the ITM head on groups: a photo and photos near it, each with one of its captions."""
    settings = context.settings["match"]
    size = min(settings["group"], len(context.train))
    neighbours = find_neighbours(context, settings["nearest"])
    objective = MatchObjective(context.model, size, settings["dropout"])
    if settings.get("begin_with_words"):
        initialize_cross_attention(context.model, settings["begin_with_words"])

    def batch(step: int) -> tuple[np.ndarray, ...]:
        rng = context.rng(3, step)
        short = step % 4 != 3
        groups = [draw_group(context, neighbours, rng, size, short) for _ in range(settings["groups"])]
        ids, tokens, ambiguous = zip(*groups, strict=True)
        ids = np.concatenate(ids)[:, : TEXT_SHORT if short else None]
        return np.ascontiguousarray(ids), np.concatenate(tokens).astype(np.float32), np.stack(ambiguous)

    Stage("match", objective, context.parameters(*MATCH_SIDE), context.schedule("match"), context.folder).run(
        batch, lambda: validate_match(context), context.say
    )


def initialize_cross_attention(model: OptModel, sharpness: float) -> None:
    """Set the query and key projections of every cross-attention to the text and image projections.

    The stage `joint` has trained these for the similarity of words and image cells. Nothing is done if the model's vectors
    are narrower than its tokens.

    Args:
        model: the model to change.
        sharpness: roughly the difference between the attention scores of a good and a bad cell at first.
    """
    heads, width = model.config.text_heads, model.config.hidden_size
    if model.config.dim < width:
        return
    for block in model.uniter.encoder.decoder.blocks:
        attention = block.cross_attention
        for target, projection in ((attention.dense1, model.text_proj), (attention.dense2, model.vision_proj)):
            weight, bias = projection.weight.asnumpy()[:width], projection.bias.asnumpy()[:width]
            # a query is made of a normalised state: rows of unit scale give it about this length
            length = np.sqrt((weight**2).sum())
            scale = np.sqrt(sharpness * heads * np.sqrt(width / heads)) / length
            target.weight.set_data(Tensor(weight * scale))
            target.bias.set_data(Tensor(bias * scale))


def find_neighbours(context: TrainingContext, count: int) -> Neighbours:
    """Find the `count` photos that are nearest to each training photo in the contrastive space."""
    stored = [context.forward.images(inputs) for inputs in context.train.adapter_inputs]
    vectors = stored[0][1]
    nearest = np.empty((len(vectors), min(count, len(vectors) - 1)), np.int32)
    for start in range(0, len(vectors), 1024):
        similar = vectors[start : start + 1024] @ vectors.T
        similar[np.arange(len(similar)), np.arange(start, start + len(similar))] = -np.inf
        nearest[start : start + 1024] = np.argpartition(-similar, nearest.shape[1] - 1, axis=1)[:, : nearest.shape[1]]
    return Neighbours(tuple(tokens.astype(np.float16) for tokens, _ in stored), nearest)


def draw_group(
    context: TrainingContext, neighbours: Neighbours, rng: np.random.Generator, size: int, short: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a random photo, photos near it, and a caption of each.

    Returns:
        The captions' ids int32 [size, T]; the photos' tokens float16 [size, L, H]; and float32 [size, size], 1 if the teacher
        gives two captions the same meaning, so that each may fit the other's photo.
    """
    anchor = int(rng.integers(len(context.train)))
    photos = np.concatenate([[anchor], rng.choice(neighbours.nearest[anchor], size - 1, replace=False)])
    captions = np.array([_caption(context, int(photo), rng, short) for photo in photos])
    view = int(rng.integers(len(neighbours.tokens)))
    teacher_vectors = context.captions.teacher_vectors[captions].astype(np.float32)
    ambiguous = (teacher_vectors @ teacher_vectors.T > SAME_MEANING_COSINE).astype(np.float32)
    return context.captions.ids[captions], neighbours.tokens[view][photos], ambiguous


def _caption(context: TrainingContext, photo: int, rng: np.random.Generator, short: bool) -> int:
    """Draw a caption of a photo, in either language. If `short`, try a few times to get one of at most TEXT_SHORT tokens."""
    drawn = 0
    for _ in range(4):
        drawn = context.train.draw(photo, rng)[int(rng.integers(2))]
        if not short or context.captions.lengths[drawn] <= TEXT_SHORT:
            break
    return drawn


def choose_first_stage_weight(context: TrainingContext) -> dict[str, float]:
    """Choose the weight of the first-stage score in re-ranking that has the best mean recall on validation.

    Returns:
        The field `first_stage_weight` of the config; nothing if there are too few captions to choose by.
    """
    found = [*rerankings(context, sample=WEIGHT_SAMPLE).values()]
    count = sum(len(r.right) for r in found)
    if count < FEWEST_CAPTIONS:
        context.say(f"{count} captions to validate with are too few to choose a weight by: that of the model stays")
        return {}
    value = {w: np.mean([r.recall(w, k) for r in found for k in (1, 5, 10)]) for w in WEIGHTS}
    best = max(WEIGHTS, key=value.__getitem__)
    context.say("first-stage weight  " + "  ".join(f"{w:g}: {value[w]:.1f}" for w in WEIGHTS) + f"  -> {best:g}")
    return {"first_stage_weight": best}


def rerankings(context: TrainingContext, sample: int) -> dict[str, Reranking]:
    """Re-rank the first stage's best photos for the last caption of a sample of validation photos, by language."""
    tokens, images = context.forward.images(context.validation.adapter_inputs[0])
    out = {}
    for name, rows in context.validation.languages().items():
        right = np.array([i for i, r in enumerate(rows) if len(r)])
        right = np.sort(np.random.default_rng(context.settings["seed"]).permutation(right)[:sample])
        captions = context.captions.ids[[rows[i][-1] for i in right]]
        out[name] = Reranking(context.forward, tokens, images, captions, right)
    return out


def validate_match(context: TrainingContext) -> dict[str, float]:
    """Compute R@1 of a sample by language: first stage, match logit alone, and both at the weight that is best here."""
    metrics = {}
    for name, reranking in rerankings(context, VALIDATION_SAMPLE).items():
        metrics[f"{name} first R@1"] = recall(reranking.similarities, reranking.right, 1)
        metrics[f"{name} match R@1"] = reranking.recall(0.0, 1)
        metrics[f"{name} R@1"] = max(reranking.recall(weight, 1) for weight in WEIGHTS)
    return metrics
