"""What each stage of training minimises (OPT specification 5.3: ITC and ITM; the text stream is distilled first)."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from encoder.blocks import dense
from encoder.network import OptModel, unit

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

    def construct(self, images, texts, meanings, owners):
        """images [B, D], texts [C, D] and the teacher's vectors of them [C, 512], owners int32 [C] (row of the photo)."""
        scale = ops.exp(ops.minimum(self.log_scale, Tensor(MAX_LOG_SCALE, ms.float32)))
        logits = scale * ops.matmul(texts, images.T)
        count = images.shape[0]
        own = ops.one_hot(owners, count, Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))
        alike = (ops.matmul(meanings, meanings.T) > ALIKE).astype(ms.float32)
        blurred = (ops.matmul(alike, own) > 0).astype(ms.float32) * (1.0 - own)
        logits = logits + blurred * EXCLUDED
        by_text = -(ops.log_softmax(logits, 1) * own).sum(1).mean()
        by_image = -(ops.log_softmax(logits, 0) * own).sum(0) / ops.maximum(own.sum(0), Tensor(1.0, ms.float32))
        return 0.5 * (by_text + by_image.mean())


class ImageObjective(nn.Cell):
    """Stage `image`: adapter and image projection learn to land where the bridged teacher puts the captions."""

    def __init__(self, model: OptModel, bridge: Bridge, dropout: float):
        super().__init__()
        self.model, self.bridge = model, bridge
        self.contrast = Contrast(model)
        self.dropout = nn.Dropout(p=dropout)

    def construct(self, features, meanings, owners):
        """features [B, L, H] of the frozen ViT, meanings [C, 512], owners int32 [C] -> loss."""
        tokens = self.model.uniter.img_embeddings.adapt(self.dropout(features))
        return self.contrast(self.model.image_vectors(tokens), self.bridge(meanings), meanings, owners)


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
    """Stage `joint`: both streams against each other, while the text stream stays near the bridged teacher."""

    def __init__(self, model: OptModel, dropout: float, stay: float):
        super().__init__()
        self.model = model
        self.contrast = Contrast(model)
        self.dropout = nn.Dropout(p=dropout)
        self.stay = stay

    def construct(self, features, ids, meanings, targets, owners):
        """As ImageObjective, with ids int32 [C, T] for the captions and targets [C, D], the bridged teacher."""
        tokens = self.model.uniter.img_embeddings.adapt(self.dropout(features))
        texts = self.model.text_vectors(self.model.text_states(ids))
        loss = self.contrast(self.model.image_vectors(tokens), texts, meanings, owners)
        return loss + self.stay * (1.0 - (texts * targets).sum(-1).mean())


class MatchObjective(nn.Cell):
    """Stage `match`: the cross-modal encoder tells a caption's photo from the first stage's near misses (ITM).

    Two-class cross-entropy over all pairs as published, and a cross-entropy over each caption's candidates of the score
    that re-ranking uses, match logit + weight * first-stage similarity.
    """

    def __init__(self, model: OptModel, candidates: int, first_stage_weight: float):
        super().__init__()
        self.model = model
        self.candidates = candidates
        self.weight = first_stage_weight

    def construct(self, ids, tokens):
        """ids [B, T]; tokens [B * N, L, H] of each caption's N candidates, the right one first -> loss."""
        states = self.model.text_states(ids)
        texts = self.model.text_vectors(states)
        images = self.model.image_vectors(tokens).reshape((-1, self.candidates, texts.shape[1]))
        similarities = ops.stop_gradient((images * texts.expand_dims(1)).sum(-1))
        states = ops.stop_gradient(states).repeat_interleave(self.candidates, 0)
        logits = self.model.match_logits(states, ids.repeat_interleave(self.candidates, 0), tokens)
        log_match = ops.log_softmax(logits, 1).reshape((-1, self.candidates, 2))
        right, wrong = log_match[:, 0, 1], log_match[:, 1:, 0]
        matching = -0.5 * (right.mean() + wrong.mean())
        score = logits[:, 1].reshape((-1, self.candidates)) + self.weight * similarities
        return matching - ops.log_softmax(score, 1)[:, 0].mean()
