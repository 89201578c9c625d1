"""The rooms stand above each other as drawn, and so do the areas that run through them.

Each contract is seen to fail on purpose: a bad import is planted in a copy, and has to be named.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from tests.house import tree

# From the oldest to the youngest: an area knows those before it, never those after it.
AGES = ["identity", "catalog", "wallet", "media", "jobs", "gallery", "billing", "rewards"]

# (contract's id, file of a copy, the import that must be refused)
PLANTS = [
    ("layers", "base/planted.py", "import db.engines"),
    ("layers", "db/planted.py", "from tenancy import placed"),
    ("layers", "outside/planted.py", "from tenancy import placed"),
    ("layers", "actions/planted.py", "from execution import fetch"),
    ("layers", "schema/planted.py", "from resolvers import placed"),
    ("layers", "webhooks/planted.py", "from cli import placed"),
    ("no-graphql-below", "actions/planted.py", "import strawberry"),
    ("no-graphql-below", "db/planted.py", "from graphql import parse"),
    ("two-doors", "actions/planted.py", "from db import engines"),
    ("two-doors", "db/planted.py", "import db.engines"),
]

Edge = tuple[str, str]


def contracts() -> dict[str, dict]:
    return {contract["id"]: contract for contract in tree.config()["importlinter"]["contracts"]}


def copy_of_the_house(target: Path) -> Path:
    """The rooms' code and the contracts; a room or module that is named but not built yet is an empty one there."""
    for room in tree.rooms():
        source = tree.ROOT / room
        for path in [path for path in tree.walk(source) if path.suffix == ".py"] if source.exists() else []:
            copy = target / tree.inside(path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        (target / room).mkdir(exist_ok=True)
    doors = contracts()["two-doors"]
    for module in [
        *doors["protected_modules"],
        *doors["allowed_importers"],
        *(f"{room}.placed" for room in tree.rooms()),
    ]:
        path = target / (module.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for folder in {path.parent for path in target.rglob("*.py")}:
        (folder / "__init__.py").touch()
    shutil.copyfile(tree.ROOT / "pyproject.toml", target / "pyproject.toml")
    return target


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, check=False, timeout=120)


def area_of(module: str, areas: set[str]) -> str | None:
    """The business part a module belongs to: the first of its inner names that is one (`db.tables.pool.media`)."""
    return next((part for part in module.split(".")[1:] if part in areas), None)


def areas_on_disk() -> set[str]:
    """What has tables or types of its own is an area; nobody keeps a list of them."""
    files = [
        *tree.ROOT.glob("db/tables/central/*.py"),
        *tree.ROOT.glob("db/tables/pool/*.py"),
        *tree.ROOT.glob("schema/*.py"),
    ]
    return {path.stem for path in files if path.stem != "__init__"}


def edges_between_areas() -> set[Edge]:
    """(a, b): some module of area a imports one of area b, in whichever rooms they stand."""
    packages = [room for room in tree.rooms() if (tree.ROOT / room / "__init__.py").exists()]
    graph = grimp.build_graph(*packages, cache_dir=None)
    areas = areas_on_disk()
    edges = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = area_of(module, areas), area_of(imported, areas)
            if pair[0] and pair[1] and pair[0] != pair[1]:
                edges.add((pair[0], pair[1]))
    return edges


def circle(edges: Iterable[Edge]) -> list[str]:
    """The areas of one circle, in order; empty if there is none."""
    known: dict[str, set[str]] = {}
    for a, b in edges:
        known.setdefault(a, set()).add(b)
    try:
        list(TopologicalSorter(known).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def against_age(edges: Iterable[Edge]) -> list[str]:
    """Edges that lead from an older area to a younger one."""
    return sorted(f"{a} → {b}" for a, b in edges if a in AGES and b in AGES and AGES.index(a) < AGES.index(b))


def test_the_layers_name_every_room_once() -> None:
    layers = [room.strip() for layer in contracts()["layers"]["layers"] for room in layer.split("|")]
    assert sorted(layers) == sorted(tree.rooms())


def test_every_folder_of_a_room_is_a_package_so_that_no_import_goes_unseen() -> None:
    # Revisions are loaded by their path, by number; they import nothing of ours but column types.
    loaded_by_path = {"db/migrations/central", "db/migrations/pool"}
    folders = {path.parent for path in tree.python_files() if tree.inside(path).split("/")[0] in tree.rooms()}
    bare = sorted(tree.inside(folder) for folder in folders if not (folder / "__init__.py").exists())
    assert set(bare) - loaded_by_path == set()


def test_the_house_as_it_stands_keeps_its_contracts(tmp_path: Path) -> None:
    answer = lint(copy_of_the_house(tmp_path))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert all(f"{contract['name']} KEPT" in answer.stdout for contract in contracts().values())


@pytest.mark.parametrize(("contract", "file", "line"), PLANTS)
def test_a_planted_import_is_named_by_its_contract(tmp_path: Path, contract: str, file: str, line: str) -> None:
    house = copy_of_the_house(tmp_path)
    (house / file).write_text(line + "\n", encoding="utf-8")
    answer = lint(house)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert f"{contracts()[contract]['name']} BROKEN" in answer.stdout
    assert file.removesuffix(".py").replace("/", ".") in answer.stdout


def test_each_contract_has_been_seen_to_fail() -> None:
    assert {contract for contract, _, _ in PLANTS} == set(contracts())


def test_areas_know_each_other_in_one_direction_only() -> None:
    assert circle({("gallery", "media"), ("media", "gallery")}) != []
    assert circle(edges_between_areas()) == []


def test_an_older_area_never_knows_a_younger_one() -> None:
    assert against_age({("media", "gallery"), ("gallery", "media")}) == ["media → gallery"]
    assert against_age(edges_between_areas()) == []
