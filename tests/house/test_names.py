"""Names say something, and none of ours is taken by a package that is installed beside us."""

from __future__ import annotations

from importlib.metadata import packages_distributions

from tests.house import tree

SAY_NOTHING = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}


def our_packages() -> set[str]:
    """What Python would import from the root: rooms, single files, and the folders of tests and loads."""
    files = {path.stem for path in tree.ROOT.glob("*.py")}
    folders = {path.parent.name for path in tree.ROOT.glob("*/__init__.py")}
    return files | folders | set(tree.rooms()) | {"server", "worker", "tests", "bench"}


def vague(paths: list[str]) -> list[str]:
    return [path for path in paths if SAY_NOTHING & set(path.removesuffix(".py").split("/"))]


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    assert vague(["db/utils.py", "common/a.py", "db/commonplace.py"]) == ["db/utils.py", "common/a.py"]
    assert vague([tree.inside(path) for path in tree.python_files()]) == []


def test_no_installed_distribution_brings_a_package_with_one_of_our_names() -> None:
    installed = packages_distributions()
    taken = {name: set(installed.get(name, ())) - {"atrium"} for name in our_packages()}
    assert {name: by for name, by in taken.items() if by} == {}


def test_every_top_level_folder_of_code_is_known_to_the_house() -> None:
    known = set(tree.rooms()) | {"tests", "bench"}
    with_code = {tree.inside(path).split("/")[0] for path in tree.python_files() if path.parent != tree.ROOT}
    assert with_code - known - {"docs", "web"} == set(), "a new room goes into pyproject.toml's contracts and the map"
