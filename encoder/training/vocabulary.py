"""opt-mini's vocabulary: the teacher's pieces that English and Chinese need, with the teacher's vectors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers, processors

from encoder.training.teacher import Teacher

MARKS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
UNKNOWN_SCORE = -20.0
WORD_STD = 0.05
_USEFUL = re.compile(r"▁?[a-z0-9'&\-]*[\u4e00-\u9fff]*|▁?[,.?!:;()/\"、]")


def normalize(text: str) -> str:
    """Normalize a text as the tokenizer does."""
    return _normalizer().normalize_str(text)


def count_pieces(teacher: Teacher, texts: Iterable[str]) -> Counter[str]:
    """Count the teacher's pieces in the normalised texts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(teacher.segment(normalize(text)))
    return counts


def choose_pieces(teacher: Teacher, counts: Counter[str], size: int) -> list[tuple[str, float]]:
    """Choose `size` pieces with their scores: marks, ASCII characters, what the texts use most, then the teacher's order."""
    scores = {piece: score for piece, score in teacher.pieces if _USEFUL.fullmatch(piece)}
    ranked = [piece for piece, _ in counts.most_common() if piece in scores]
    rest = (piece for piece in scores if piece not in counts and (len(piece) == 1 or re.search("[\u4e00-\u9fff]", piece)))
    kept = list(dict.fromkeys([*(p for p in scores if len(p) == 1 and p.isascii()), *ranked, *rest]))[: size - len(MARKS)]
    return [(mark, UNKNOWN_SCORE if mark == "[UNK]" else 0.0) for mark in MARKS] + [(p, scores[p]) for p in kept]


def build_tokenizer(pieces: list[tuple[str, float]]) -> tokenizers.Tokenizer:
    """Build a unigram tokenizer over the pieces: NFKC, lower case, no final full stop, marks at start and end."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=MARKS.index("[UNK]")))
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def word_table(teacher: Teacher, pieces: list[tuple[str, float]], counts: Counter[str], width: int) -> np.ndarray:
    """Compute initial word embeddings float32 [pieces, width]: the teacher's piece vectors, reduced by weighted PCA."""
    index = {piece: i for i, (piece, _) in enumerate(teacher.pieces)}
    vectors = teacher.piece_vectors()
    rows = np.stack([vectors[index[p]] if p in index else np.zeros(vectors.shape[1], np.float32) for p, _ in pieces])
    weights = np.sqrt(np.array([1.0 + counts.get(p, 0) for p, _ in pieces]))
    mean = np.average(rows, axis=0, weights=weights)
    centred = rows - mean
    _, _, axes = np.linalg.svd(centred * np.sqrt(weights / weights.sum())[:, None], full_matrices=False)
    table = centred @ axes[:width].T
    return (table * (WORD_STD / table[len(MARKS) :].std())).astype(np.float32)


def _normalizer() -> normalizers.Normalizer:
    return normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Replace(Regex(r"\s*[.。!]+$"), ""),
            normalizers.Replace(Regex(r"\s+(?=[,.?!])"), ""),
        ]
    )
