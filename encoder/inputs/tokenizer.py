"""From sentences to padded token ids and back, by WordPiece (OPT-v2) or by unigram pieces (opt-mini)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers

from encoder.errors import BadCheckpoint
from encoder.inputs.chinese import HAN, simplified

PAD = 0
BLANK = "▁"
"""The piece that stands for a blank before a word."""
CONTINUES = "##"
"""What a piece begins with that continues a word (WordPiece)."""
UNKNOWN = ("[UNK]", "<unk>")
MARK = re.compile(r"\[[A-Za-z0-9_]+\]|<[A-Za-z0-9/_]+>")
"""The pieces that are no text, such as [CLS] and bert-base-chinese's [unused1]."""
BETWEEN_HAN = re.compile(f"(?<={HAN.pattern}) +(?={HAN.pattern})")
EMOJI = "So"
"""The category in Unicode of what stands for a thing, and is neither a letter nor a punctuation mark."""
FEW = 8
"""The most texts that are encoded one by one: for so few, waking the threads of `encode_batch` takes longer."""


class Tokenizer:
    """Turns texts into token ids with a start and an end mark; id 0 is padding.

    A traditional character that the vocabulary doesn't have is read as the simplified one, if it has that.

    Args:
        path: a `tokenizer.json` of Hugging Face tokenizers, or a WordPiece vocabulary with one piece a line (`vocab.txt`,
            such as bert-base-chinese's).
        length: the most tokens of a text, marks included; longer texts are cut.

    Raises:
        BadCheckpoint: the vocabulary is absent or damaged.
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
        """The number of pieces in the vocabulary."""
        return self._tokenizer.get_vocab_size()

    def ids(self, texts: list[str]) -> list[list[int]]:
        """The token ids of each text, marks included; no list is empty."""
        texts = [self._readable(text) for text in texts]
        if len(texts) <= FEW:
            return [self._tokenizer.encode(text).ids for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters [start, end) of the text that each token comes from; empty for marks."""
        return self._tokenizer.encode(self._readable(text)).offsets

    def pieces(self, text: str) -> list[str]:
        """The pieces of one text, marks included."""
        return self._tokenizer.encode(self._readable(text)).tokens

    def text(self, ids: Iterable[int]) -> str:
        """Write the text of token ids; ids of marks, and those that no piece has, are left out.

        Chinese is written without blanks. Words of WordPiece are separated by a blank where both are of letters or digits
        that are not Chinese: the published code writes such words as one.
        """
        pieces = [piece for piece in map(self._tokenizer.id_to_token, ids) if piece and not MARK.fullmatch(piece)]
        if self._has_blanks:
            return BETWEEN_HAN.sub("", "".join(pieces).replace(BLANK, " ")).strip()
        text = ""
        for piece in pieces:
            continued = piece.startswith(CONTINUES) and piece != CONTINUES
            apart = not continued and text and _continues_word(text[-1]) and _continues_word(piece[0])
            text += " " * bool(apart) + (piece.removeprefix(CONTINUES) if continued else piece)
        return text

    def is_mark(self, number: int) -> bool:
        """Whether an id is that of a mark, or of no piece at all."""
        piece = self._tokenizer.id_to_token(number)
        return not piece or MARK.fullmatch(piece) is not None

    def has_word(self, word: str) -> bool:
        """Whether a word is a single piece of the vocabulary."""
        ids = self._tokenizer.encode(word, add_special_tokens=False).ids
        return len(ids) == 1 and ids[0] not in self._unknown

    def unknown_in(self, text: str) -> tuple[list[str], bool]:
        """The parts of a text that the vocabulary has no piece for, and whether these are all that there is but signs."""
        encoding = self._tokenizer.encode(self._readable(text), add_special_tokens=False)
        unknown, known = [], False
        for number, piece, (start, end) in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True):
            if piece == BLANK or not any(map(_has_meaning, text[start:end])):
                continue
            if number in self._unknown:
                unknown.append(_with_its_word(text, start, end))
            else:
                known = True
        return list(dict.fromkeys(unknown)), bool(unknown) and not known

    def _readable(self, text: str) -> str:
        """The text with simplified characters for those that the vocabulary lacks."""
        if text.isascii():
            return text
        lacking = {character for character in text if HAN.match(character)} - self._characters
        if not lacking:
            return text
        pairs = zip(text, simplified(text), strict=True)
        return "".join(new if old in lacking and new in self._characters else old for old, new in pairs)

    @cached_property
    def _has_blanks(self) -> bool:
        """Whether pieces say themselves where a blank stands before a word."""
        return self._tokenizer.token_to_id(BLANK) is not None or any(BLANK in piece for piece in self._tokenizer.get_vocab())

    @cached_property
    def _characters(self) -> frozenset[str]:
        """All characters of the vocabulary."""
        return frozenset("".join(self._tokenizer.get_vocab()))

    @cached_property
    def _unknown(self) -> frozenset[int]:
        """The ids that stand for what the vocabulary doesn't have."""
        ids = (self._tokenizer.token_to_id(mark) for mark in UNKNOWN)
        return frozenset(number for number in ids if number is not None)


def _with_its_word(text: str, start: int, end: int) -> str:
    """The characters [start, end) of a text, and the word around them; a Chinese character is a word by itself."""
    while start and _continues_word(text[start - 1]):
        start -= 1
    while end < len(text) and _continues_word(text[end]):
        end += 1
    return text[start:end].strip()


def _has_meaning(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) == EMOJI


def _continues_word(character: str) -> bool:
    return character.isalnum() and not HAN.match(character)


def pad(ids: list[list[int]], length: int) -> np.ndarray:
    """Fill up ids with PAD to int32 [n, length]."""
    out = np.full((len(ids), length), PAD, np.int32)
    for row, values in zip(out, ids, strict=True):
        row[: len(values)] = values
    return out


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read a WordPiece vocabulary file, one piece a line; gives the id of each piece.

    Raises:
        BadCheckpoint: the file can't be read.
    """
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
    """Make BERT's WordPiece tokenizer, lower case and Chinese by character, of a vocabulary file.

    Raises:
        BadCheckpoint: the file can't be read, or lacks a mark.
    """
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
