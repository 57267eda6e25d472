"""What each stage of training minimises (OPT specification 5.3: ITC and ITM; the text stream is distilled first)."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from encoder.network.blocks import dense
from encoder.network.opt import OptModel, unit

MAX_LOG_SCALE = float(np.log(100.0))
ALIKE = 0.9
EXCLUDED = -1e4


class Bridge(nn.Cell):
    """A linear map from the teacher's space to the contrastive space; it starts as the identity."""

    def __init__(self, dim: int):
        super().__init__()
        self.map = dense(dim, dim)
        self.map.weight.set_data(Tensor(np.eye(dim, dtype=np.float32)))

    def construct(self, vectors):
        """[..., D] -> unit vectors [..., D]."""
        return unit(self.map(vectors))


class Contrast(nn.Cell):
    """Symmetric cross-entropy of photos against captions with every caption of a photo as a positive (ITC).

    Captions of other photos that the teacher takes for the same sentence (cosine above ALIKE) count neither way.
    """

    def __init__(self, model: OptModel):
        super().__init__()
        # MindSpore's AdamW on CPU refuses scalars, so the published scalar clip_temp is learnt as one number in a row
        start = model.clip_loss.clip_temp.asnumpy().reshape(1)
        self.log_scale = Parameter(Tensor(start, ms.float32), name="log_scale")

    def construct(self, similarities, meanings, owners):
        """similarities [C, B] of captions with photos, the teacher's vectors [C, 512] of the captions, owners int32 [C]
        (the photo of each) -> loss."""
        logits = ops.exp(ops.minimum(self.log_scale, Tensor(MAX_LOG_SCALE, ms.float32))) * similarities
        own = ops.one_hot(owners, similarities.shape[1], Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))
        alike = (ops.matmul(meanings, meanings.T) > ALIKE).astype(ms.float32)
        blurred = (ops.matmul(alike, own) > 0).astype(ms.float32) * (1.0 - own)
        logits = logits + blurred * EXCLUDED
        by_text = -(ops.log_softmax(logits, 1) * own).sum(1).mean()
        by_image = -(ops.log_softmax(logits, 0) * own).sum(0) / ops.maximum(own.sum(0), Tensor(1.0, ms.float32))
        return 0.5 * (by_text + by_image.mean())


class ImageObjective(nn.Cell):
    """Stage `image`: the ViT's last layers and all that follows learn to land where the bridged teacher puts the captions."""

    def __init__(self, model: OptModel, bridge: Bridge, frozen_layers: int, dropout: float):
        super().__init__()
        self.model, self.bridge, self.frozen_layers = model, bridge, frozen_layers
        self.contrast = Contrast(model)
        self.dropout = nn.Dropout(p=dropout)

    def construct(self, trunk, cells, meanings, owners):
        """trunk [B, T, W] and cells [B, L, F] as features.Frozen has them, meanings [C, 512], owners int32 [C] -> loss."""
        images = self.model.uniter.img_embeddings
        tokens = images.join(images.tail(trunk, self.frozen_layers), self.dropout(cells))
        tokens = images.adapt(self.dropout(tokens))
        similarities = ops.matmul(self.bridge(meanings), self.model.image_vectors(tokens).T)
        return self.contrast(similarities, meanings, owners)


class TextObjective(nn.Cell):
    """Stage `text`: the text stream learns to land where the bridged teacher lands."""

    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, ids, targets):
        """ids int32 [B, T], targets unit vectors [B, D] -> (1 - cosine) plus telling the batch's sentences apart."""
        vectors = self.model.text_vectors(self.model.text_states(ids))
        distance = 1.0 - (vectors * targets).sum(-1).mean()
        logits = 20.0 * ops.matmul(vectors, targets.T)
        labels = ops.softmax(20.0 * ops.matmul(targets, targets.T), 1)
        return 4.0 * distance - (ops.log_softmax(logits, 1) * labels).sum(1).mean()


class JointObjective(nn.Cell):
    """Stage `joint`: both streams against each other, while the text stream stays near the bridged teacher.

    Words and places learn to meet too (late interaction, Yao et al. 2022): in a second contrastive loss a caption's
    similarity is the mean, over its tokens, of each one's best place. Ranking does not use it; the cross-modal encoder
    finds its work prepared.
    """

    def __init__(self, model: OptModel, dropout: float, stay: float, words: float):
        super().__init__()
        self.model = model
        self.contrast, self.fine_contrast = Contrast(model), Contrast(model)
        self.fine_contrast.log_scale.name = "fine_log_scale"
        self.dropout = nn.Dropout(p=dropout)
        self.stay, self.words = stay, words

    def construct(self, features, ids, meanings, targets, owners):
        """features [B, L, H] before the adapter, ids int32 [C, T] of the captions, targets [C, D], the bridged teacher's
        vectors of them, meanings and owners as in Contrast -> loss."""
        tokens = self.model.uniter.img_embeddings.adapt(self.dropout(features))
        states = self.model.text_states(ids)
        texts = self.model.text_vectors(states)
        loss = self.contrast(ops.matmul(texts, self.model.image_vectors(tokens).T), meanings, owners)
        loss = loss + self.stay * (1.0 - (texts * targets).sum(-1).mean())
        return loss + self.words * self.fine_contrast(word_similarities(self.model, states, ids, tokens), meanings, owners)


def word_similarities(model: OptModel, states, ids, tokens):
    """states [C, T, H] of ids [C, T] and tokens [B, L, H] -> [C, B], the mean of each token's best cosine."""
    captions, length = ids.shape
    photos, places = tokens.shape[:2]
    words = unit(model.text_proj(states)).reshape((captions * length, -1))
    spots = unit(model.vision_proj(tokens)).reshape((photos * places, -1))
    best = ops.amax(ops.matmul(words, spots.T).reshape((captions * length, photos, places)), 2)
    valid = (ids != 0).astype(ms.float32).reshape((captions, length, 1))
    return (best.reshape((captions, length, photos)) * valid).sum(1) / valid.sum(1)


class MatchObjective(nn.Cell):
    """Stage `match`: the cross-modal encoder tells who belongs together in groups of photos that are alike (ITM).

    Two-class cross-entropy over all pairs as published, both classes with the same weight, and a cross-entropy of the
    match logit over each caption's photos and each photo's captions.
    """

    def __init__(self, model: OptModel, group: int, dropout: float):
        super().__init__()
        self.model, self.group = model, group
        self.dropout = nn.Dropout(p=dropout)
        self.own = Tensor(np.eye(group, dtype=np.float32)[None])

    def construct(self, ids, tokens, unsure):
        """ids [G * n, T] of one caption a photo, tokens [G * n, L, H]; unsure [G, n, n] is 1 where a caption may fit
        another's photo, which counts neither way -> loss."""
        n = self.group
        states = ops.stop_gradient(self.model.text_states(ids))
        logits = self.model.crossed_logits(self.dropout(states), ids, self.dropout(tokens), n).reshape((-1, n, n, 2))
        log_match = ops.log_softmax(logits, 3)
        wrong = (1.0 - self.own) * (1.0 - unsure)
        matching = -(log_match[..., 1] * self.own).sum() / (self.own.sum() * logits.shape[0])
        matching = matching - (log_match[..., 0] * wrong).sum() / ops.maximum(wrong.sum(), Tensor(1.0, ms.float32))
        score = logits[..., 1] + unsure * (1.0 - self.own) * EXCLUDED
        by_text = -(ops.log_softmax(score, 2) * self.own).sum(2).mean()
        by_image = -(ops.log_softmax(score, 1) * self.own).sum(1).mean()
        return 0.5 * matching + by_text + by_image
