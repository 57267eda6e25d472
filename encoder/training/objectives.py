"""The loss of each stage of training (OPT specification, 5.3: ITC and ITM; the text stream is distilled first)."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from encoder.network.blocks import dense
from encoder.network.opt import OptModel, l2_normalize

MAX_LOG_SCALE = float(np.log(100.0))
SAME_SENTENCE_COSINE = 0.9
EXCLUDED = -1e4


class Bridge(nn.Cell):
    """A linear map from the teacher's space to the contrastive space; it starts as the identity."""

    def __init__(self, dim: int):
        super().__init__()
        self.map = dense(dim, dim)
        self.map.weight.set_data(Tensor(np.eye(dim, dtype=np.float32)))

    def construct(self, vectors: Tensor) -> Tensor:
        """Map vectors [..., D] -> unit vectors [..., D]."""
        return l2_normalize(self.map(vectors))


class Contrast(nn.Cell):
    """The symmetric cross-entropy of photos and captions (ITC). All captions of a photo are positives.

    A caption of another photo counts neither as positive nor as negative if the teacher takes it for the same sentence
    (cosine above SAME_SENTENCE_COSINE).
    """

    def __init__(self, model: OptModel):
        super().__init__()
        # MindSpore's AdamW on CPU refuses scalars, so the published scalar clip_temp is learnt as an array of one number
        start = model.clip_loss.clip_temp.asnumpy().reshape(1)
        self.log_scale = Parameter(Tensor(start, ms.float32), name="log_scale")

    def construct(self, similarities: Tensor, teacher_vectors: Tensor, owners: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            similarities: of captions with photos [C, B].
            teacher_vectors: of the captions [C, 512].
            owners: the column of each caption's own photo, int32 [C].
        """
        logits = ops.exp(ops.minimum(self.log_scale, Tensor(MAX_LOG_SCALE, ms.float32))) * similarities
        own = ops.one_hot(owners, similarities.shape[1], Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))
        alike = (ops.matmul(teacher_vectors, teacher_vectors.T) > SAME_SENTENCE_COSINE).astype(ms.float32)
        ambiguous = (ops.matmul(alike, own) > 0).astype(ms.float32) * (1.0 - own)
        logits = logits + ambiguous * EXCLUDED
        by_text = -(ops.log_softmax(logits, 1) * own).sum(1).mean()
        by_image = -(ops.log_softmax(logits, 0) * own).sum(0) / ops.maximum(own.sum(0), Tensor(1.0, ms.float32))
        return 0.5 * (by_text + by_image.mean())


class ImageObjective(nn.Cell):
    """The loss of the stage `image`: ITC of image vectors with the bridged teacher's vectors of the captions."""

    def __init__(self, model: OptModel, bridge: Bridge, frozen_layers: int, dropout: float):
        super().__init__()
        self.model, self.bridge, self.frozen_layers = model, bridge, frozen_layers
        self.contrast = Contrast(model)
        self.dropout = nn.Dropout(p=dropout)

    def construct(self, trunk: Tensor, cells: Tensor, teacher_vectors: Tensor, owners: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            trunk: the ViT's tokens after its frozen layers [B, T, W], as `FrozenFeatures` has them.
            cells: features of the convolutional backbone [B, L, F], as `FrozenFeatures` has them.
            teacher_vectors: of the captions [C, 512].
            owners: the position of each caption's own photo in the batch, int32 [C].
        """
        images = self.model.uniter.img_embeddings
        tokens = images.add_grid_features(images.tail(trunk, self.frozen_layers), self.dropout(cells))
        tokens = images.adapt(self.dropout(tokens))
        similarities = ops.matmul(self.bridge(teacher_vectors), self.model.image_vectors(tokens).T)
        return self.contrast(similarities, teacher_vectors, owners)


class TextObjective(nn.Cell):
    """The loss of the stage `text`: distance from the bridged teacher's vectors, and a cross-entropy within the batch."""

    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of ids int32 [B, T] with the bridged teacher's unit vectors [B, D]."""
        vectors = self.model.text_vectors(self.model.text_states(ids))
        distance = 1.0 - (vectors * targets).sum(-1).mean()
        logits = 20.0 * ops.matmul(vectors, targets.T)
        labels = ops.softmax(20.0 * ops.matmul(targets, targets.T), 1)
        return 4.0 * distance - (ops.log_softmax(logits, 1) * labels).sum(1).mean()


class JointObjective(nn.Cell):
    """The loss of the stage `joint`: ITC of both streams, while the text stream stays near the bridged teacher.

    A second ITC compares words with image cells (late interaction, Yao et al. 2022): see `word_similarities`. Ranking doesn't
    use it; it prepares the cross-modal encoder.

    Attributes:
        stay: the weight of the distance from the teacher.
        words: the weight of the second ITC.
    """

    def __init__(self, model: OptModel, dropout: float, stay: float, words: float):
        super().__init__()
        self.model = model
        self.contrast, self.fine_contrast = Contrast(model), Contrast(model)
        self.fine_contrast.log_scale.name = "fine_log_scale"
        self.dropout = nn.Dropout(p=dropout)
        self.stay, self.words = stay, words

    def construct(self, features: Tensor, ids: Tensor, teacher_vectors: Tensor, targets: Tensor, owners: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            features: the adapter's inputs [B, L, H].
            ids: of the captions, int32 [C, T].
            teacher_vectors: of the captions [C, 512].
            targets: the bridged teacher's unit vectors of the captions [C, D].
            owners: the position of each caption's own photo in the batch, int32 [C].
        """
        tokens = self.model.uniter.img_embeddings.adapt(self.dropout(features))
        states = self.model.text_states(ids)
        texts = self.model.text_vectors(states)
        loss = self.contrast(ops.matmul(texts, self.model.image_vectors(tokens).T), teacher_vectors, owners)
        loss = loss + self.stay * (1.0 - (texts * targets).sum(-1).mean())
        similarities = word_similarities(self.model, states, ids, tokens)
        return loss + self.words * self.fine_contrast(similarities, teacher_vectors, owners)


def word_similarities(model: OptModel, states: Tensor, ids: Tensor, tokens: Tensor) -> Tensor:
    """Compare words with image cells: the mean, over a caption's tokens, of each one's best cosine with a cell.

    states [C, T, H] of ids [C, T], tokens [B, L, H] -> [C, B].
    """
    captions, length = ids.shape
    photos, cell_count = tokens.shape[:2]
    words = l2_normalize(model.text_proj(states)).reshape((captions * length, -1))
    cells = l2_normalize(model.vision_proj(tokens)).reshape((photos * cell_count, -1))
    best = ops.amax(ops.matmul(words, cells.T).reshape((captions * length, photos, cell_count)), 2)
    valid = (ids != 0).astype(ms.float32).reshape((captions, length, 1))
    return (best.reshape((captions, length, photos)) * valid).sum(1) / valid.sum(1)


class MatchObjective(nn.Cell):
    """The loss of the stage `match`: ITM over all pairs of groups of similar photos.

    It is the published two-class cross-entropy, both classes with the same weight, and a cross-entropy of the match logit
    over each caption's photos and each photo's captions.
    """

    def __init__(self, model: OptModel, group: int, dropout: float):
        super().__init__()
        self.model, self.group = model, group
        self.dropout = nn.Dropout(p=dropout)
        self.own = Tensor(np.eye(group, dtype=np.float32)[None])

    def construct(self, ids: Tensor, tokens: Tensor, ambiguous: Tensor) -> Tensor:
        """Compute the loss of G groups of n photos with a caption each.

        Args:
            ids: of the captions, int32 [G * n, T].
            tokens: of the photos [G * n, L, H].
            ambiguous: 1 if a caption may fit another's photo [G, n, n]; such pairs count neither way.
        """
        n = self.group
        states = ops.stop_gradient(self.model.text_states(ids))
        logits = self.model.group_logits(self.dropout(states), ids, self.dropout(tokens), n).reshape((-1, n, n, 2))
        log_match = ops.log_softmax(logits, 3)
        wrong = (1.0 - self.own) * (1.0 - ambiguous)
        matching = -(log_match[..., 1] * self.own).sum() / (self.own.sum() * logits.shape[0])
        matching = matching - (log_match[..., 0] * wrong).sum() / ops.maximum(wrong.sum(), Tensor(1.0, ms.float32))
        score = logits[..., 1] + ambiguous * (1.0 - self.own) * EXCLUDED
        by_text = -(ops.log_softmax(score, 2) * self.own).sum(2).mean()
        by_image = -(ops.log_softmax(score, 1) * self.own).sum(1).mean()
        return 0.5 * matching + by_text + by_image
