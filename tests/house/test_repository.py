"""The repository speaks of itself alone, and what is banned outside one file stands in that file only.

Patterns are put together from pieces here, so that this file does not find itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.house import tree

MACHINE_PATHS = re.compile(
    "|".join(["/wo" + "rk/", "/fa" + "rm/", "/ro" + "ot/", "/ho" + "me/[a-z]+/", "/Us" + "ers/[a-z]+/"])
)
TEMPORARY_PATHS = re.compile("/tm" + "p/")
INDEX_ADDRESSES = re.compile(
    "|".join([r"py" + r"pi\.org", "pythonhosted" + r"\.org", r"registry\.np" + r"mjs", r"registry\.ya" + "rnpkg"])
)
# Where a lock or a setting would record where a package came from.
ORIGINS = re.compile(
    "|".join(
        [
            '"resol' + 'ved"',
            "^regis" + "try *=",
            "(?<!no-emit-)index" + "-url",
            "find" + "-links",
            r"source = \{ regis" + "try",
        ]
    ),
    re.MULTILINE,
)
ORIGIN_FILES = re.compile(r"(lock[^/]*|\.(toml|txt|cfg|ini)|\.npmrc|pip\.conf)$")
UNFINISHED = re.compile(
    "|".join(
        [
            r"\bTO" + r"DO\b",
            r"\bFIX" + r"ME\b",
            r"\bXX" + r"X\b",
            "NotImplemented" + "Error",
            "pragma: no" + " cover",
            r"mark\.sk" + r"ip\b",
            r"\bxf" + r"ail\b",
        ]
    )
)
SECRETS = re.compile(
    "|".join(
        [
            "-----BEGIN [A-Z ]*PRIVATE" + " KEY-----",
            r"\b[sr]k_li" + "ve_[A-Za-z0-9]{8,}",
            r"\bAK" + r"IA(?![A-Z0-9]{9}EXAMPLE)[A-Z0-9]{16}\b",
            r"\bgh[pousr]" + r"_[A-Za-z0-9]{30,}",
            r"\bxox[abp]" + r"-[A-Za-z0-9-]{10,}",
        ]
    )
)

# Dotted name → where it may stand (a file, or a folder with its slash).
BANNED = {
    "sqlalchemy.text": {"db/guard.py", "tests/"},
    "os.environ": {"base/settings.py", "tests/", "bench/"},
    "os.getenv": {"base/settings.py", "tests/", "bench/"},
    "sqlalchemy.ext.asyncio.create_async_engine": {"db/engines.py", "tests/"},
    "starlette.middleware.base.BaseHTTPMiddleware": set(),
    "time.sleep": {"tests/"},
}
# Other roads to the same thing.
ALSO = {
    "sqlalchemy.sql.text": "sqlalchemy.text",
    "sqlalchemy.sql.expression.text": "sqlalchemy.text",
    "sqlalchemy.sql.elements.TextClause": "sqlalchemy.text",
    "sqlalchemy.TextClause": "sqlalchemy.text",
    "sqlalchemy.ext.asyncio.engine.create_async_engine": "sqlalchemy.ext.asyncio.create_async_engine",
}


def lines_with(pattern: re.Pattern[str], text: str, path: str) -> list[str]:
    """`path:line` of every match."""
    return [f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}" for match in pattern.finditer(text)]


def named(module: ast.Module) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of every imported name and every use of one through its module, aliases undone."""
    meaning: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                meaning[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}", node.lineno
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            dotted, value = [node.attr], node.value
            while isinstance(value, ast.Attribute):
                dotted.append(value.attr)
                value = value.value
            if isinstance(value, ast.Name) and value.id in meaning:
                yield ".".join([meaning[value.id], *reversed(dotted)]), node.lineno


def banned(path: str, module: ast.Module) -> list[str]:
    """What a file names although it may not."""
    found = []
    for name, line in named(module):
        rule = ALSO.get(name, name)
        if rule in BANNED and not any(
            path == place or (place.endswith("/") and path.startswith(place)) for place in BANNED[rule]
        ):
            found.append(f"{path}:{line}: {name}")
    return found


def test_no_file_names_a_path_of_some_machine() -> None:
    wrong = [line for path, text in tree.texts() for line in lines_with(MACHINE_PATHS, text, path)]
    wrong += [
        line
        for path, text in tree.texts()
        if not path.startswith("tests/")
        for line in lines_with(TEMPORARY_PATHS, text, path)
    ]
    assert lines_with(MACHINE_PATHS, "a\nsee /ro" + "ot/x", "p") == ["p:2: /ro" + "ot/"]
    assert not wrong, "\n".join(wrong)


def test_no_file_says_where_a_package_came_from() -> None:
    wrong = [line for path, text in tree.texts() for line in lines_with(INDEX_ADDRESSES, text, path)]
    wrong += [
        line for path, text in tree.texts() if ORIGIN_FILES.search(path) for line in lines_with(ORIGINS, text, path)
    ]
    assert ORIGINS.search("--index" + "-url x")
    assert not ORIGINS.search("--no-emit-index" + "-url")
    assert not wrong, "\n".join(wrong)


def test_the_locks_hold_a_hash_for_everything_and_agree_with_each_other() -> None:
    pins = {}
    for name in ("requirements.lock", "requirements-test.lock"):
        text = (tree.ROOT / name).read_text(encoding="utf-8")
        entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
        assert entries
        assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry or "==" not in entry] == []
        pins[name] = {entry.splitlines()[0] for entry in entries}
    assert pins["requirements.lock"] <= pins["requirements-test.lock"]


def test_nothing_is_left_unfinished_or_switched_off() -> None:
    code = re.compile(r"(\.(py|ts|tsx|js|mjs|sh|graphql)|Makefile|\.ci/run)$")
    wrong = [line for path, text in tree.texts() if code.search(path) for line in lines_with(UNFINISHED, text, path)]
    assert lines_with(UNFINISHED, "# TO" + "DO later", "p") == ["p:1: TO" + "DO"]
    assert not wrong, "\n".join(wrong)


def test_nothing_that_looks_like_a_secret_is_committed() -> None:
    wrong = [line for path, text in tree.texts() for line in lines_with(SECRETS, text, path)]
    assert SECRETS.search("AK" + "IA" + "B" * 16)
    assert not SECRETS.search("AK" + "IA" + "IOSFODNN7EXAMPLE")
    assert not wrong, "\n".join(wrong)


def test_what_is_banned_stands_in_its_one_file_only() -> None:
    planted = ast.parse("import sqlalchemy as sa\nfrom os import environ\nimport time\nsa.text('x')\ntime.sleep(1)\n")
    assert [line.partition(": ")[2] for line in banned("actions/a.py", planted)] == [
        "os.environ",
        "sqlalchemy.text",
        "time.sleep",
    ]
    assert banned("tests/a.py", planted) == []
    wrong = [line for path, module in tree.parsed() for line in banned(path, module)]
    assert not wrong, "\n".join(wrong)


def test_the_linter_bans_the_same_names() -> None:
    told = tree.config()["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert [name for name in BANNED if name not in told and name.rpartition(".")[0] not in told] == []
