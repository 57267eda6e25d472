"""Which changes of a module change the digest of its code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from encoder.runtime.source_digest import code_digest, code_of
from tests.support.commands import ROOT

PLAIN = '''import numpy as np


class Net:
    """A network.

    In many words.
    """

    WIDTH = 3
    """How wide it is."""

    def construct(self, x):  # float32 [n]
        # twice
        return f"{x}" + "# no comment" + """
        text   """
'''


def digest(folder, text, name="net.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return code_digest([path])


def test_only_code_is_digested():
    assert code_of(PLAIN.encode()).splitlines() == [
        "import numpy as np",
        "class Net:",
        "    WIDTH = 3",
        "    def construct(self, x):",
        '        return f"{x}" + "# no comment" + """',
        '        text   """',
    ]


@pytest.mark.parametrize(("old", "new"), [
    ("A network.", "One network, said otherwise"), ("How wide", "Über how wide"), ("# twice", "# thrice\n\n        # or more"),
    ("  # float32 [n]", ""), ('    """How wide it is."""\n', ""), ("\n\n\nclass", "\nclass"),
])  # fmt: skip
def test_comments_and_docstrings_change_nothing(tmp_path, old, new):
    assert old in PLAIN
    assert digest(tmp_path, PLAIN.replace(old, new)) == digest(tmp_path, PLAIN)


@pytest.mark.parametrize(("old", "new"), [
    ("WIDTH = 3", "WIDTH = 4"), ('"# no comment"', '"# a comment"'), ('f"{x}"', 'f"{self}"'), ("text   ", "text  "),
    ("        return", "        x += 1\n        return"),
])  # fmt: skip
def test_a_change_of_code_changes_the_digest(tmp_path, old, new):
    assert old in PLAIN
    assert digest(tmp_path, PLAIN.replace(old, new)) != digest(tmp_path, PLAIN)


def test_the_name_and_the_order_of_modules_count(tmp_path):
    assert digest(tmp_path, PLAIN) != digest(tmp_path, PLAIN, "other.py")
    (tmp_path / "other.py").write_text("x = 1\n", encoding="utf-8")
    both = [tmp_path / "net.py", tmp_path / "other.py"]
    assert code_digest(both) != code_digest(both[::-1])


def test_the_digest_is_the_same_with_every_python(tmp_path):
    """The digest is a constant: the tokens of this Python must not influence it."""
    assert digest(tmp_path, PLAIN) == "88bb7fc2c79c861dfbe1a48366b9635857ac1213c3ba0713aeb0f80a96aa1f8b"


def test_every_module_of_the_encoder_has_a_digest():
    for path in sorted((ROOT / "encoder").rglob("*.py")):
        assert code_digest([path])


def test_mindspore_is_not_imported():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, encoder.runtime.source_digest; sys.exit('mindspore' in sys.modules)"],
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0
