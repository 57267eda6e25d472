"""From a published checkpoint to a model folder: what is loaded, what is ignored and why, what is missing, what is left over.

Needs neither MindSpore nor an Ascend card.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder import published
from encoder.checkpoint import CONFIG, WEIGHTS
from encoder.ckpt_file import FLOATS, CheckpointFile
from encoder.config import OptConfig
from encoder.errors import BadCheckpoint
from encoder.models import RECORD, Models
from encoder.tokenizer import wordpiece
from encoder.weights_file import write_weights

VOCABULARIES = ("vocab.txt", "bert-base-chinese-vocab.txt")
BERT_BASE_CHINESE = 21128
BERT_MARKS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102}
SHOWN = 4


@dataclass(frozen=True)
class ImportReport:
    """What became of each tensor of the file; names but in the counts.

    `ignored` is the number by reason, `filled_in` what the file lacks and a ranking doesn't depend on, `left_over` the names
    that no rule knows.
    """

    name: str
    form: str
    config: OptConfig
    loaded: int
    parameters: int
    ignored: dict[str, int]
    filled_in: list[str]
    left_over: list[str]
    fingerprint: str
    folder: str

    def as_json(self) -> dict:
        """Plain values only."""
        return {"name": self.name, "form": self.form, "network": self.config.name, "loaded": self.loaded,
                "parameters": self.parameters, "ignored": self.ignored, "missing": [], "filled_in": self.filled_in,
                "left_over": self.left_over, "fingerprint": self.fingerprint, "folder": self.folder}


def import_model(file: Path, models: Models, name: str | None = None, vocabulary: Path | None = None,
                 replace: bool = False) -> ImportReport:
    """Make the model `name` (default: the file's own name) of a published `.ckpt`.

    Its numbers stay as they are, float16 or float32. `vocabulary` is the WordPiece file it was trained with (default: a
    vocab.txt or bert-base-chinese-vocab.txt beside the checkpoint). Nothing is written under the name before it is whole.

    Raises NotACheckpoint, UnusableForm (another OPT than V2), BadCheckpoint (weights missing or misshaped, a vocabulary that
    doesn't fit), BadModelName or UnusableModels.
    """
    name = models.new_name(name or Path(file).stem, replace)
    with CheckpointFile(file) as checkpoint:
        plan = Plan(checkpoint)
        vocabulary = _vocabulary(vocabulary, Path(file), plan.config)
        facts = {"file": Path(file).name, "sha256": _sha256(Path(file)), **plan.facts()}
        with models.new_folder(name, replace) as folder:
            write_weights(folder / WEIGHTS, plan.shapes, plan.dtypes, plan.read)
            (folder / CONFIG).write_text(plan.config.to_json() + "\n", encoding="utf-8")
            (folder / "vocab.txt").write_bytes(vocabulary.read_bytes())
            (folder / RECORD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return ImportReport(name, "V2", plan.config, len(plan.sources), plan.parameters, plan.ignored, plan.filled_in,
                        plan.left_over, models.fingerprint(name), str(models.path(name)))


class Plan:
    """What becomes of each tensor of an open checkpoint; making it raises where the weights don't make a network.

    `sources` says, for each parameter, under which name it lies in the file.
    """

    def __init__(self, checkpoint: CheckpointFile):
        self._checkpoint = checkpoint
        tensors = checkpoint.tensors
        published.check_usable(published.form_of(tensors), checkpoint.path)
        self.ignored: dict[str, int] = {}
        self.sources = self._sources()
        found = {name: tensors[source].shape for name, source in self.sources.items()}
        self.config = published.v2_config(found)
        self.shapes = published.v2_shapes(self.config)
        self.left_over = sorted(self.sources.keys() - self.shapes.keys())
        self.sources = {name: self.sources[name] for name in self.shapes if name in self.sources}
        self.filled_in = sorted(published.DEFAULTS.keys() - self.sources.keys())
        self._check({name: found[name] for name in self.sources})
        self.dtypes = {name: self._dtype(name) for name in self.shapes}
        self.parameters = sum(int(np.prod(shape)) for shape in self.shapes.values())

    def read(self, name: str) -> np.ndarray:
        """One parameter; raises BadCheckpoint where a number in it is none."""
        if name not in self.sources:
            return published.DEFAULTS[name]
        values = self._checkpoint.read(self.sources[name]).reshape(self.shapes[name])
        if not np.isfinite(values).all():
            raise BadCheckpoint(f"{self._checkpoint.path}: {name} has numbers that are not finite: its training had failed.")
        return values

    def facts(self) -> dict:
        """What a model folder remembers of its import."""
        return {"form": "V2", "loaded": len(self.sources), "parameters": self.parameters, "ignored": self.ignored,
                "filled_in": self.filled_in, "left_over": self.left_over}

    def _sources(self) -> dict[str, str]:
        """Parameter -> name in the file, of all that no rule ignores; tied weights under the name that the network has."""
        sources = {}
        for name in self._checkpoint.tensors:
            reason = published.ignored_because(name)
            tied = published.ALIASES.get(name)
            if tied is not None and tied in self._checkpoint.tensors:
                self._check_tied(name, tied)
                reason = "second name of tied weights"
            if reason is None:
                sources[tied or name] = name
            else:
                self.ignored[reason] = self.ignored.get(reason, 0) + 1
        return sources

    def _check_tied(self, name: str, tied: str) -> None:
        if not np.array_equal(self._checkpoint.read(name), self._checkpoint.read(tied)):
            raise BadCheckpoint(f"{self._checkpoint.path}: {name} and {tied} are one table by two names, and differ; leave "
                                "out the one that is wrong.")

    def _check(self, found: published.Shapes) -> None:
        missing = [n for n in self.shapes if n not in found and n not in published.DEFAULTS]
        wrong = {n: shape for n, shape in found.items() if shape != self.shapes[n] and not _is_scalar(shape, self.shapes[n])}
        types = [f"{n} ({dtype})" for n, source in self.sources.items()
                 if (dtype := self._checkpoint.tensors[source].dtype) not in FLOATS]
        slices = published.slices_of(self.shapes, wrong)
        shaped = [f"{n} {list(shape)} instead of {list(self.shapes[n])}" for n, shape in wrong.items()]
        problems = {"missing": missing, "misshaped": shaped, "not floating-point": types}
        said = "; ".join(f"{problem}: {_first(names)}" for problem, names in problems.items() if names)
        if slices and not missing:
            said += (f". They are slices, 1/{slices} of what they should be: this is one rank's file of a model-parallel run; "
                     "merge the ranks' files into one checkpoint first")
        if said:
            raise BadCheckpoint(f"{self._checkpoint.path} is Taichu-OPT-v2, but its retrieval weights are not whole ({said}). "
                                "Nothing was written.")

    def _dtype(self, name: str) -> str:
        stored = self._checkpoint.tensors.get(self.sources.get(name, ""))
        return "float16" if stored is not None and stored.dtype == "Float16" else "float32"


def _is_scalar(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return expected == () and found == (1,)


def _vocabulary(given: Path | None, file: Path, config: OptConfig) -> Path:
    """The vocabulary file, which is one, and fits the word table."""
    path = given or next((file.parent / name for name in VOCABULARIES if (file.parent / name).is_file()), None)
    if path is None:
        raise BadCheckpoint(f"{file} needs its vocabulary: give bert-base-chinese's vocab.txt with --vocab, or lay it beside "
                            "the checkpoint.")
    tokenizer = wordpiece(path)
    size = tokenizer.get_vocab_size()
    if size > config.vocab_size:
        raise BadCheckpoint(f"The vocabulary {path} has {size} pieces, and the checkpoint's table {config.vocab_size} rows: "
                            "give the vocabulary that it was trained with.")
    if config.vocab_size == BERT_BASE_CHINESE and any(tokenizer.token_to_id(mark) != i for mark, i in BERT_MARKS.items()):
        raise BadCheckpoint(f"The vocabulary {path} is not bert-base-chinese's ([CLS] in line 102, [SEP] in line 103), which "
                            "this checkpoint was trained with: give that with --vocab.")
    return path


def _first(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
