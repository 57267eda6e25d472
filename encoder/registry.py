"""The models by name: the shipped one, and the imported ones in a folder of model folders."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from encoder.config import AnyConfig, ModelConfig
from encoder.errors import BadCheckpoint, BadModelName, UnknownModel, UnusableModels
from encoder.model_folder import CAPTIONER, CONFIG, SHIPPED, WEIGHTS, fingerprint, read_any_config
from encoder.runtime.pair import JOINED

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHIPPED_NAMES = ("opt-mini", "shipped")
RECORD = "import.json"
TEMPORARY = ".tmp-"


class ModelRegistry:
    """The model folders in one folder, by name; `opt-mini`, or `shipped`, names the shipped model.

    Args:
        folder: the folder of the imported models; it need not exist.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @classmethod
    def of_home(cls, home: Path | None = None) -> ModelRegistry:
        """The models of a home (default: PANOPTES_HOME, or `./var`, as in the commands)."""
        return cls(Path(home or os.environ.get("PANOPTES_HOME") or "var") / "models")

    def names(self) -> list[str]:
        """The names of the imported models, in alphabetical order."""
        if not self.folder.is_dir():
            return []
        named = (path for path in self.folder.iterdir() if NAME.fullmatch(path.name))
        return sorted(path.name for path in named if (path / CONFIG).is_file())

    def path(self, name: str) -> Path:
        """The folder of a model by its name.

        Raises:
            UnknownModel: there is none of this name; the message lists those that there are.
        """
        if name in SHIPPED_NAMES:
            return SHIPPED
        if name in self.names():
            return self.folder / name
        names = ", ".join([SHIPPED_NAMES[0], *self.names()])
        raise UnknownModel(
            f"There is no model {name!r}: there are {names}; `python manage.py model import FILE --as NAME` "
            "makes one, and a model folder can be named by its path."
        )

    def chosen(self, model: str | None) -> Path:
        """The folder that a name or path stands for (default: PANOPTES_MODEL, or the shipped model).

        Raises:
            UnknownModel: there is none of this name.
        """
        model = model or os.environ.get("PANOPTES_MODEL") or SHIPPED_NAMES[0]
        if model not in self.names() and model not in SHIPPED_NAMES and Path(model).expanduser().is_dir():
            return Path(model).expanduser()
        return self.path(model)

    def chosen_captioner(self, captioner: str | None, model: str | None) -> Path:
        """The folder that a captioner's name or path stands for (default: PANOPTES_CAPTIONER, or the model that searches).

        It is that of a captioner, or of a model that has one; see `encoder.selection.captioner_of`.

        Raises:
            UnknownModel: there is none of this name.
        """
        return self.chosen(captioner or os.environ.get("PANOPTES_CAPTIONER") or model)

    def fingerprint(self, name: str) -> str:
        """The fingerprint of a model by name."""
        return fingerprint(self.path(name))

    def made_by(self, wanted: str) -> str | None:
        """The options that choose the models of a fingerprint, such as "--model taichu --reranker zoo".

        Returns:
            The options; None if one of the models is not here.
        """
        first, _, second = wanted.partition(JOINED)
        names = {self._fingerprint_or_none(name): name for name in [*reversed(self.names()), SHIPPED_NAMES[0]]}
        if first not in names or (second and second not in names):
            return None
        return f"--model {names[first]}" + (f" --reranker {names[second]}" if second else "")

    def _fingerprint_or_none(self, name: str) -> str | None:
        try:
            return self.fingerprint(name)
        except BadCheckpoint:
            return None

    def describe(self, name: str) -> dict[str, Any]:
        """Describe a model for `model show`: sizes, languages, fingerprint, and the record of its import.

        What a captioner does not have is 0; `captions` says what a captioner, or a model's own, writes.
        """
        path = self.path(name)
        config = read_any_config(path)
        searches = isinstance(config, ModelConfig)
        region_width = config.inputs.region_width
        return {
            "name": name,
            "network": config.name,
            "fingerprint": fingerprint(path),
            "folder": str(path),
            "languages": list(config.languages),
            "searches": searches,
            "captions": _captions(path, config),
            "dim": config.dim if searches else 0,
            "hidden_size": config.hidden_size,
            "layers": config.stacks,
            "regions": config.inputs.shape[0] if region_width else 0,
            "region_width": region_width,
            "image_size": config.image_size,
            "patch_size": config.patch_size,
            "preprocessing": config.preprocessing,
            "token_shape": list(config.token_shape),
            "text_length": config.text_length if searches else config.caption_length,
            "bytes": (path / WEIGHTS).stat().st_size,
            "imported": _record(path),
        }

    def list(self) -> list[dict[str, Any]]:
        """Describe every model; of a damaged one only `name` and `problem`."""
        out = []
        for name in [SHIPPED_NAMES[0], *self.names()]:
            try:
                out.append(self.describe(name))
            except (BadCheckpoint, OSError) as error:
                out.append({"name": name, "problem": str(error)})
        return out

    def new_name(self, name: str, replace: bool) -> str:
        """Check the name of a new model, and give it back.

        Args:
            replace: an imported model of this name may be replaced.

        Raises:
            BadModelName: no model can have this name, or another one has it.
        """
        if not NAME.fullmatch(name):
            raise BadModelName(
                f"{name!r} can't be the name of a model: give one of letters, digits, '.', '_' and '-' with --as."
            )
        if name in SHIPPED_NAMES:
            raise BadModelName(f"{name!r} is the model that ships: give another name with --as.")
        if (self.folder / name).exists() and not replace:
            raise BadModelName(f"There is a model {name!r} already: give another name with --as, or --replace to replace it.")
        return name

    @contextlib.contextmanager
    def new_folder(self, name: str, replace: bool) -> Iterator[Path]:
        """Give an empty folder to write a model to; at the end of the `with` it becomes the model `name`.

        If the `with` fails, no model is changed.

        Raises:
            BadModelName: another model has taken the name meanwhile.
            UnusableModels: the folder of the models can't be written to.
        """
        try:
            with self._lock():
                self._sweep()
                temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.folder))
                try:
                    yield temporary
                    self.new_name(name, replace)
                    self._put(temporary, name)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            raise UnusableModels(f"The folder {self.folder} cannot be written to ({error.strerror or error}).") from error

    def _put(self, temporary: Path, name: str) -> None:
        os.chmod(temporary, 0o755)  # nosec B103 # a model holds no secret, and a server may run as somebody else
        for path in [*temporary.iterdir(), temporary]:
            _sync(path)
        final, old = self.folder / name, temporary.with_name(temporary.name + "-old")
        if final.exists():
            os.rename(final, old)
        os.rename(temporary, final)
        _sync(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what killed imports left. The lock is held, so that no other import is running."""
        for path in self.folder.glob(f"{TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _captions(path: Path, config: AnyConfig) -> dict[str, Any] | None:
    """What a captioner writes, or the one that a model has; None where there is none."""
    if isinstance(config, ModelConfig):
        own = path / CAPTIONER
        return _captions(own, read_any_config(own)) if (own / CONFIG).is_file() else None
    return {
        "network": config.name,
        "fingerprint": fingerprint(path),
        "languages": list(config.languages),
        "length": config.caption_length,
        "vocab_size": config.vocab_size,
        "encoder": config.encoder or None,
        "bytes": (path / WEIGHTS).stat().st_size,
    }


def _record(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads((path / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
