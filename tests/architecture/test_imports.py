"""Who may import whom: the rooms, and what stays out of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.commands import ROOT

ROOMS = {
    "encoder": set(),
    "storage": set(),
    "indexer": {"encoder", "storage"},
    "search": {"encoder", "storage"},
    "web": {"encoder", "storage", "search"},
}
"""The rooms that a room's modules may import, beside itself."""

ORDER = ("storage", "encoder", "indexer", "search", "web")
"""A room's `commands` may import every room before it, and their commands; `storage.console` holds what they share."""

INDEXER_FROM_WEB = {"web.editing", "web.build_runner"}
"""They change collections; they import the indexer only when something is changed."""

MINDSPORE = ("encoder.network.", "encoder.runtime.", "encoder.training.", "encoder.exporting.")


def modules() -> dict[str, Path]:
    """Every module of the rooms by its dotted name."""
    found = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, lazy: bool) -> set[str]:
    """The modules that a module imports: with `lazy` also inside functions, never only for types."""
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    nodes = list(ast.walk(tree)) if lazy else [node for node in tree.body if not isinstance(node, ast.If)]
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in nodes:
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by a relative path"
            inner = {f"{node.module}.{one.name}" for one in node.names}
            modules = inner & MODULES.keys()
            found |= modules if len(modules) == len(inner) else {node.module, *modules}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_those_below_it(room):
    wrong = []
    for name in (name for name in MODULES if name.split(".")[0] == room):
        for other in imports(name, lazy=True):
            to = other.split(".")[0]
            if to == room or to not in ROOMS:
                continue
            if name.endswith(".commands"):
                allowed = ORDER.index(to) < ORDER.index(room)
            elif name in INDEXER_FROM_WEB and to == "indexer":
                allowed = other not in imports(name, lazy=False)
            else:
                allowed = to in ROOMS[room]
            if not allowed:
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_commands_are_imported_by_commands_alone():
    users = {name: {other for other in imports(name, lazy=True) if other.endswith(".commands")} for name in MODULES}
    parts = {"indexer.caption_commands"}  # whose commands are among those of `indexer.commands`
    assert {name for name, used in users.items() if used} <= {f"{room}.commands" for room in ROOMS} | parts


def test_there_are_no_circles():
    graph = {name: {other for other in imports(name, lazy=True) if other in MODULES} - {name} for name in MODULES}
    TopologicalSorter(graph).prepare()


def test_only_some_of_the_encoder_imports_mindspore():
    users = {name for name in MODULES if any(one.split(".")[0] == "mindspore" for one in imports(name, lazy=True))}
    assert users
    assert not [name for name in users if not name.startswith(MINDSPORE)]


@pytest.mark.parametrize("room", [*ROOMS, *(f"{room}.commands" for room in ROOMS), "manage"])
def test_a_room_opens_without_what_is_heavy(room):
    heavy = ("mindspore", "onnxruntime", "faiss", "sqlalchemy", "pyarrow", "flask", "numpy", "PIL")
    say = f"import sys, {room}; print(*({heavy} & sys.modules.keys()))".replace(str(heavy), str(set(heavy)))
    done = subprocess.run([sys.executable, "-c", say], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_the_top_level_is_what_people_expect():
    code = {path.parent.name for path in ROOT.glob("*/*.py")} | {path.name for path in ROOT.glob("*.py")}
    assert code - {"tests", "benchmarks"} == {"manage.py", *ROOMS}
    assert len((ROOT / "manage.py").read_text("utf-8").splitlines()) < 120
