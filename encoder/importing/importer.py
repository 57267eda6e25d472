"""Makes a model folder of a published checkpoint, and reports what became of each tensor.

It needs neither MindSpore nor an Ascend card.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoder.captioner_config import CaptioningConfig
from encoder.config import AnyConfig, ModelConfig, OptConfig
from encoder.errors import BadCheckpoint, UnusableForm
from encoder.files import sha256_of
from encoder.importing.checkpoint_shapes import Shapes, slices_of
from encoder.importing.ckpt_file import FLOATS, CheckpointFile
from encoder.importing.published import CAPTIONS, SEARCH, usable_form
from encoder.importing.published_captioners import as_published
from encoder.importing.weights_file import write_weights
from encoder.inputs.tokenizer import wordpiece
from encoder.model_folder import CONFIG, WEIGHTS, first_names
from encoder.registry import RECORD, ModelRegistry

VOCABULARIES = ("vocab.txt", "bert-base-chinese-vocab.txt")
BERT_TABLES = (21128, 28996, 36560)
BERT_MARKS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102}
"""The ids of marks in bert-base-chinese. Word tables of these lengths were trained with it; the longer ones have spare rows."""

SECOND_NAME = "second name of tied weights"


@dataclass(frozen=True)
class ImportReport:
    """What became of each tensor of a checkpoint.

    Attributes:
        name: of the model.
        form, title: of the OPT that the checkpoint holds, such as "V2" and "Taichu-OPT-v2".
        loaded: the number of tensors that were loaded.
        parameters: the number of numbers in them.
        ignored: the number of ignored tensors by reason.
        taken: parameters that the file lacks, and the row of a head that was taken for each.
        filled_in: parameters that the file lacks and no ranking depends on.
        left_over: tensors that no rule knows.
    """

    name: str
    form: str
    title: str
    config: AnyConfig
    loaded: int
    parameters: int
    ignored: dict[str, int]
    taken: dict[str, str]
    filled_in: list[str]
    left_over: list[str]
    fingerprint: str
    folder: str

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "name": self.name,
            "form": self.form,
            "title": self.title,
            "network": self.config.name,
            "only_reranks": isinstance(self.config, ModelConfig) and self.config.dim == 0,
            "writes_captions": isinstance(self.config, CaptioningConfig),
            "loaded": self.loaded,
            "parameters": self.parameters,
            "ignored": self.ignored,
            "taken": self.taken,
            "missing": [],
            "filled_in": self.filled_in,
            "left_over": self.left_over,
            "fingerprint": self.fingerprint,
            "folder": self.folder,
        }


def import_model(
    file: Path,
    models: ModelRegistry,
    name: str | None = None,
    vocabulary: Path | None = None,
    replace: bool = False,
    compact: bool = False,
    finish: Callable[[Path], object] | None = None,
    purpose: str | None = None,
    published: bool = False,
) -> ImportReport:
    """Make a model of a published `.ckpt`. Its numbers stay as they are, float16 or float32.

    Nothing is written under the model's name before the model is whole.

    Args:
        file: the checkpoint.
        models: where the model goes.
        name: of the model (default: the file's own).
        vocabulary: the WordPiece file that it was trained with (default: a vocab.txt or bert-base-chinese-vocab.txt beside the
            checkpoint).
        replace: replace an imported model of this name.
        compact: store an image's tokens in fewer bytes (see `compacted`).
        finish: called at the end with the model's folder, to export its graphs.
        purpose: "search" or "captions" (default: what the names and shapes in the file say).
        published: run a captioner as its published scripts ran it (see `published_captioners.as_published`).

    Raises:
        NotACheckpoint: the file is not a whole `.ckpt`.
        UnusableForm: the checkpoint is not of an OPT, or its sizes are impossible.
        BadCheckpoint: weights are missing or misshaped, or the vocabulary doesn't fit.
        BadModelName, UnusableModels: the model can't have this name, or can't be written.
    """
    name = models.new_name(name or Path(file).stem, replace)
    with CheckpointFile(file) as checkpoint:
        plan = Plan(checkpoint, purpose)
        if compact:
            plan.config = compacted(plan.config)
        if published:
            plan.config = _as_published(plan.config)
        vocabulary = _vocabulary(vocabulary, Path(file), plan.config)
        facts = {"file": Path(file).name, "sha256": sha256_of(Path(file)), **plan.facts()}
        with models.new_folder(name, replace) as folder:
            write_weights(folder / WEIGHTS, plan.shapes, plan.dtypes, plan.read)
            (folder / CONFIG).write_text(plan.config.to_json() + "\n", encoding="utf-8")
            (folder / "vocab.txt").write_bytes(vocabulary.read_bytes())
            (folder / RECORD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            if finish is not None:
                finish(folder)
    return ImportReport(
        name,
        plan.form.key,
        plan.form.title,
        plan.config,
        len(plan.sources),
        plan.parameters,
        plan.ignored,
        plan.taken,
        plan.filled_in,
        plan.left_over,
        models.fingerprint(name),
        str(models.path(name)),
    )


def _as_published(config: AnyConfig) -> CaptioningConfig:
    if isinstance(config, ModelConfig):
        raise UnusableForm("--published is for captioners: a model that searches is run in one way only.")
    return as_published(config)


def compacted(config: AnyConfig) -> OptConfig:
    """The config that stores the fewest bytes for an image and leaves its vector as it is.

    Patches are averaged 2 x 2 after the last norm, if the grid has an even side; tokens are stored in 8 bits.

    Raises:
        UnusableForm: the network does not read pixels by itself.
    """
    if not isinstance(config, OptConfig) or config.regions:
        raise UnusableForm("only models with an image stream of pixels can be made compact; import it without --compact.")
    return dataclasses.replace(config, merge=2 if config.grid % 2 == 0 else config.merge, compact_tokens=True)


class Plan:
    """What becomes of each tensor of an open checkpoint.

    Attributes:
        form: the OPT that the checkpoint holds.
        config: of the model.
        shapes, dtypes: of each parameter.
        sources: the name in the file of each parameter.
        ignored, filled_in, left_over: as in `ImportReport`.
        parameters: the number of numbers in all parameters.

    Raises:
        UnusableForm: the checkpoint is not of an OPT, or its sizes are impossible.
        BadCheckpoint: weights are missing or misshaped.
    """

    def __init__(self, checkpoint: CheckpointFile, purpose: str | None = None):
        self._checkpoint = checkpoint
        shapes = {name: stored.shape for name, stored in checkpoint.tensors.items()}
        self.form = usable_form(shapes, checkpoint.path, purpose)
        self.ignored: dict[str, int] = {}
        self.sources = self._sources()
        self._rows = {name: row for name, (head, row) in self.form.rows.items() if self.sources.get(name) == head}
        found = {name: self._shape(name) for name in self.sources}
        config, self.shapes = self.form.network(found)
        self.config: AnyConfig = config
        self.left_over = sorted(self.sources.keys() - self.shapes.keys())
        self.sources = {name: self.sources[name] for name in self.shapes if name in self.sources}
        self.filled_in = sorted(self.form.defaults.keys() - self.sources.keys())
        self._check({name: found[name] for name in self.sources})
        self.dtypes = {name: self._dtype(name) for name in self.shapes}
        self.parameters = sum(int(np.prod(shape)) for shape in self.shapes.values())

    @property
    def taken(self) -> dict[str, str]:
        """The row of a head that each missing parameter is taken from."""
        return {name: f"row {row} of {self.sources[name]}" for name, row in self._rows.items()}

    def read(self, name: str) -> np.ndarray:
        """Read one parameter.

        Raises:
            BadCheckpoint: it has numbers that are not finite.
        """
        if name not in self.sources:
            return self.form.defaults[name]
        values = self._checkpoint.read(self.sources[name])
        if name in self._rows:
            values = values[self._rows[name]]
        if not np.isfinite(values).all():
            raise BadCheckpoint(f"{self._checkpoint.path}: {name} has numbers that are not finite: its training had failed.")
        return values.reshape(self.shapes[name])

    def facts(self) -> dict[str, Any]:
        """The facts that the model folder records of its import."""
        return {
            "form": self.form.key,
            "purpose": self.form.purpose,
            "loaded": len(self.sources),
            "parameters": self.parameters,
            "ignored": self.ignored,
            "taken": self.taken,
            "filled_in": self.filled_in,
            "left_over": self.left_over,
        }

    def _sources(self) -> dict[str, str]:
        """The name in the file of each parameter that no rule ignores; tied weights by the name that the network has."""
        tensors = self._checkpoint.tensors
        sources: dict[str, str] = {}
        taken = {head: name for name, (head, _) in self.form.rows.items() if name not in tensors}
        for name in tensors:
            reason = None if name in taken else self.form.ignored_because(name)
            tied = self.form.own_name(name)
            if tied is not None and tied in tensors:
                self._check_tied(name, tied)
                reason = SECOND_NAME
            if reason is None:
                sources[tied or taken.get(name) or name] = name
            else:
                self.ignored[reason] = self.ignored.get(reason, 0) + 1
        return sources

    def _shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter in the file; one row if it is taken from a head."""
        shape = self._checkpoint.tensors[self.sources[name]].shape
        return (1, *shape[1:]) if name in self._rows and len(shape) and shape[0] > self._rows[name] else shape

    def _check_tied(self, name: str, tied: str) -> None:
        if not np.array_equal(self._checkpoint.read(name), self._checkpoint.read(tied)):
            raise BadCheckpoint(
                f"{self._checkpoint.path}: {name} and {tied} are one table by two names, and differ; leave "
                "out the one that is wrong."
            )

    def _check(self, found: Shapes) -> None:
        missing = [n for n in self.shapes if n not in found and n not in self.form.defaults]
        wrong = {n: shape for n, shape in found.items() if shape != self.shapes[n] and not _is_scalar(shape, self.shapes[n])}
        types = [
            f"{n} ({dtype})"
            for n, source in self.sources.items()
            if (dtype := self._checkpoint.tensors[source].dtype) not in FLOATS
        ]
        slices = slices_of(self.shapes, wrong)
        shaped = [f"{n} {list(shape)} instead of {list(self.shapes[n])}" for n, shape in wrong.items()]
        problems = {"missing": missing, "misshaped": shaped, "not floating-point": types}
        problem = "; ".join(f"{kind}: {first_names(names)}" for kind, names in problems.items() if names)
        if slices and not missing:
            problem += (
                f". They are slices, 1/{slices} of what they should be: this is one rank's file of a model-parallel run; "
                "merge the ranks' files into one checkpoint first"
            )
        if self.form.purpose == CAPTIONS and missing:
            problem += ". A file that can't write captions, such as one for retrieval, is imported with --for search"
        if any(name in missing for name in self.form.rows):
            problem += (
                ". Nothing in it scores a pair: a captioning checkpoint, as the hub's opt_cococaption, has neither a rank "
                "head nor the ITM head of pre-training"
            )
        if problem:
            raise BadCheckpoint(
                f"{self._checkpoint.path} is {self.form.title}, but its {_WEIGHTS[self.form.purpose]} weights are not whole "
                f"({problem}). Nothing was written."
            )

    def _dtype(self, name: str) -> str:
        stored = self._checkpoint.tensors.get(self.sources.get(name, ""))
        return "float16" if stored is not None and stored.dtype == "Float16" else "float32"


_WEIGHTS = {SEARCH: "retrieval", CAPTIONS: "captioning"}


def _is_scalar(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return expected == () and found == (1,)


def _vocabulary(given: Path | None, file: Path, config: AnyConfig) -> Path:
    """The vocabulary file, after a check that it fits the word table."""
    path = given or next((file.parent / name for name in VOCABULARIES if (file.parent / name).is_file()), None)
    if path is None:
        raise BadCheckpoint(
            f"{file} needs its vocabulary: give bert-base-chinese's vocab.txt with --vocab, or lay it beside the checkpoint."
        )
    tokenizer = wordpiece(path)
    size = tokenizer.get_vocab_size()
    if size > config.vocab_size:
        raise BadCheckpoint(
            f"The vocabulary {path} has {size} pieces, and the checkpoint's table {config.vocab_size} rows: "
            "give the vocabulary that it was trained with."
        )
    if config.vocab_size in BERT_TABLES and any(tokenizer.token_to_id(mark) != i for mark, i in BERT_MARKS.items()):
        raise BadCheckpoint(
            f"The vocabulary {path} is not bert-base-chinese's ([CLS] in line 102, [SEP] in line 103), which "
            "this checkpoint was trained with: give that with --vocab."
        )
    return path
