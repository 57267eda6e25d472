"""From sentences to padded token ids: WordPiece over a vocabulary file (OPT-v2), or unigram pieces (opt-mini)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tokenizers

from encoder.errors import BadCheckpoint

PAD = 0
FEW = 8
"""Up to so many texts, waking the threads of `encode_batch` takes longer than the texts."""


class Tokenizer:
    """Token ids with a start and an end mark; id 0 is padding.

    `path` is a `tokenizer.json` of Hugging Face tokenizers, or a WordPiece vocabulary (`vocab.txt`, one piece a line,
    such as bert-base-chinese's). Texts longer than `length` tokens, marks included, are cut.
    """

    def __init__(self, path: Path, length: int):
        if not Path(path).is_file():
            raise BadCheckpoint(f"The vocabulary {path} does not exist.")
        self._tokenizer = _from_json(path) if Path(path).suffix == ".json" else wordpiece(path)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)
        self.length = length

    @property
    def size(self) -> int:
        """How many pieces the vocabulary has."""
        return self._tokenizer.get_vocab_size()

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, marks included; never empty."""
        if len(texts) <= FEW:
            return [self._tokenizer.encode(text).ids for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each token of `ids` comes from, [start, end); empty for marks."""
        return self._tokenizer.encode(text).offsets

    def pieces(self, text: str) -> list[str]:
        """The pieces of one text, marks included."""
        return self._tokenizer.encode(text).tokens


def pad(ids: list[list[int]], length: int) -> np.ndarray:
    """Ids as int32 [n, length], filled up with PAD."""
    out = np.full((len(ids), length), PAD, np.int32)
    for row, values in zip(out, ids, strict=True):
        row[: len(values)] = values
    return out


def read_vocabulary(path: Path) -> dict[str, int]:
    """The pieces of a WordPiece vocabulary file with their ids, one a line; raises BadCheckpoint."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadCheckpoint(f"The vocabulary {path} cannot be read as UTF-8 text; give the model's own vocab.txt.") from error
    lines = text.removesuffix("\n").split("\n")  # not splitlines(): some pieces are themselves separators of lines
    return {piece: i for i, piece in enumerate(lines)}


def _from_json(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise BadCheckpoint(f"The vocabulary {path} is damaged; fetch the file again.") from error


def wordpiece(path: Path) -> tokenizers.Tokenizer:
    """BERT's WordPiece, lower case, Chinese by character, over a vocabulary file; raises BadCheckpoint."""
    vocab = read_vocabulary(path)
    missing = [mark for mark in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if mark not in vocab]
    if missing:
        raise BadCheckpoint(f"The vocabulary {path} lacks {', '.join(missing)}; give the model's own vocab.txt.")
    if vocab["[PAD]"] != PAD:
        raise BadCheckpoint(
            f"The vocabulary {path} has [PAD] in line {vocab['[PAD]'] + 1}, not in its first; give the model's own vocab.txt."
        )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    return tokenizer
