"""Nothing grows past what one reading holds: files, functions, and arguments told apart by place alone.

An exception is a line in `EXCEPTIONS`, with its reason. What outgrows its file becomes a folder with one file a verb.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house import tree

FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
PLAIN_ARGUMENTS_MAX = 3
POSITIONAL_MAX = 2

# These leave a function's signature to its callers.
PLAIN_DECORATORS = {
    "abstractmethod",
    "asynccontextmanager",
    "cache",
    "cached_property",
    "classmethod",
    "contextmanager",
    "lru_cache",
    "overload",
    "property",
    "staticmethod",
}

# What is named here is spared one rule: (rule, "path" or "path::Class.function") → why.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("keywords", "db/guard.py::Guard.check"): "the driver's event calls it for every statement, in its own order",
    ("keywords", "outside/egress.py::Checked.connect_tcp"): "httpcore's interface of a network backend says so",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function, bool]]:
    """(qualified name, function, is it a method) of every function under a node, inner ones too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield f"{prefix}{child.name}", child, isinstance(node, ast.ClassDef)
            yield from functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}{child.name}.")
        else:
            yield from functions(child, prefix)


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def decorators(function: Function) -> set[str]:
    """The last name of each decorator, called or not."""
    names = (d.func if isinstance(d, ast.Call) else d for d in function.decorator_list)
    return {name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "") for name in names}


def by_place(function: Function, *, method: bool) -> bool:
    """Whether more than two of at least four arguments may be told apart by their place alone.

    Positional-only ones are meant so (an action's). A decorator other than the plain ones reads the signature itself
    (root fields, commands, listeners), or says that it is another's (`override`).
    """
    by = decorators(function)
    if by - PLAIN_DECORATORS:
        return False
    given = function.args
    places = [*given.posonlyargs, *given.args]
    own = places[1:] if method and "staticmethod" not in by else places
    positional = [argument for argument in own if argument in given.args]
    return len(own) + len(given.kwonlyargs) > PLAIN_ARGUMENTS_MAX and len(positional) > POSITIONAL_MAX


def found() -> Iterator[tuple[str, str, str]]:
    """(rule, place, what is wrong) over the whole house, exceptions among them."""
    for path, module in tree.parsed():
        test = path.startswith("tests/")
        most = TEST_FILE_LINES_MAX if test else FILE_LINES_MAX
        length = len((tree.ROOT / path).read_text(encoding="utf-8").splitlines())
        if length > most:
            yield "file", path, f"{length} lines, at most {most}"
        for name, function, method in functions(module):
            place = f"{path}::{name}"
            if lines(function) > FUNCTION_LINES_MAX:
                yield "function", place, f"{lines(function)} lines, at most {FUNCTION_LINES_MAX}"
            if not test and by_place(function, method=method):
                yield "keywords", place, "from the third argument on by keyword (*), or all by place on purpose (/)"


def test_no_file_and_no_function_outgrows_its_limit_and_arguments_are_named() -> None:
    wrong = [f"{place}: {what}" for rule, place, what in found() if (rule, place) not in EXCEPTIONS]
    assert not wrong, "\n".join(wrong)


def test_each_exception_is_still_needed_once_its_file_is_there() -> None:
    needed = {(rule, place) for rule, place, _ in found()}
    stale = [e for e in EXCEPTIONS if e not in needed and (tree.ROOT / e[1].partition("::")[0]).exists()]
    assert not stale, f"nothing is spared by {stale}: take the lines out"


def test_the_rule_of_keywords_tells_the_kinds_of_functions_apart() -> None:
    refused = (
        "def f(a, b, c, d): ...\n"
        "class A:\n    def g(self, a, b, c, *, d): ...\n    @staticmethod\n    def h(a, b, c, d): ...\n"
    )
    allowed = (
        "def f(a, b, c): ...\ndef g(a, b, *, c, d): ...\ndef h(a, b, c, d, /): ...\n"
        "class A:\n    def i(self, a, b, *, c, d): ...\n@mutation(member)\ndef j(a, b, c, d): ...\n"
    )
    assert [name for name, f, method in functions(ast.parse(refused)) if by_place(f, method=method)] == [
        "f",
        "A.g",
        "A.h",
    ]
    assert [name for name, f, method in functions(ast.parse(allowed)) if by_place(f, method=method)] == []
