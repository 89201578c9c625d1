"""What a process of the product reads once in its life, kept here over all tests of a process.

Nearly every test opens a house of its own, with engines, a guard and clients of its own: each would compile the same
statements, read the same SQL and load the same authorities again, which was a fourth of what tests compute. What is
compiled follows from the statement and the kind of engine, what a guard finds in a text from the text and its rules.
"""

from __future__ import annotations

import functools
import ssl
from typing import Any

from httpx._config import create_ssl_context
from httpx._transports import default as transports
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.util import LRUCache

from db import engines, session
from db.demands import Rule
from db.guard import Guard

COMPILED_MAX = 4_000

_compile = ClauseElement._compile_w_cache
# By the kind of engine: the dialect that compiles for all of them, and what it has compiled.
_dialects: dict[object, Any] = {}
_compiled: dict[object, LRUCache[Any, Any]] = {}
_guards: dict[frozenset[tuple[str, Rule]], Guard] = {}


def keep() -> None:
    """Keep it, for this process and its whole life."""
    for where, name, kept in (
        (engines, "create_async_engine", _engine),
        (ClauseElement, "_compile_w_cache", _compiled_once),
        (session, "Guard", _guard),
        (transports, "create_ssl_context", _ssl_context),
    ):
        setattr(where, name, kept)


def _engine(url: str, **arguments: Any) -> Any:
    made = create_async_engine(url, **arguments)
    inner: Any = made.sync_engine
    kind = inner.dialect.kind = make_url(url).drivername, arguments.get("isolation_level")
    inner._compiled_cache = _compiled.setdefault(kind, LRUCache(COMPILED_MAX))
    return made


def _compiled_once(statement: ClauseElement, dialect: Any, **how: Any) -> Any:
    # Who compiles is connected, so that its dialect knows the server; one that was never connected must not be kept.
    kind = getattr(dialect, "kind", None)
    known = dialect if kind is None else _dialects.setdefault((*kind, dialect.server_version_info), dialect)
    return _compile(statement, known, **how)


def _guard(rules: dict[str, Rule]) -> Guard:
    # Tests declare tables of their own: with other rules it is another guard.
    return _guards.setdefault(frozenset(rules.items()), Guard(rules))


@functools.cache
def _authorities() -> ssl.SSLContext:
    return create_ssl_context(trust_env=False)


def _ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    plain = verify is True and cert is None and not trust_env
    return _authorities() if plain else create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
