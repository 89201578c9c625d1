"""The column types that every table is made of: one word a kind of value, the same meaning on each engine.

Their `repr` is what a migration writes, so it is short and names this module.
"""

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from base import sealing

WORD_CHARACTERS_MAX = 32
MYSQL = ("mysql", "mariadb")


def utc_now() -> datetime:
    """This process's clock, UTC, microseconds."""
    return datetime.now(UTC)


def decoder(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """What makes a Python value of the driver's for a column of this type; None where it is one already."""
    if isinstance(kind, sa.Float):
        # Every driver answers one; asyncpg's type would want to know the server's number of the column's type.
        return None
    made: Callable[[Any], Any] | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return made


class _Text(sa.TypeDecorator[str]):
    """Text of a bounded length under a binary collation; which characters it may hold, the two kinds below say."""

    impl = sa.String
    cache_ok = True
    charset: ClassVar[str]
    collation: ClassVar[str]

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def __repr__(self) -> str:
        return f"columns.{type(self).__name__}({self.length})"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
            return dialect.type_descriptor(mysql.VARCHAR(self.length, charset=self.charset, collation=self.collation))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.VARCHAR(self.length, collation="C"))
        return dialect.type_descriptor(sa.String(self.length))


class Exact(_Text):
    """ASCII text compared byte for byte: ids, slugs, hosts, hashes, provider ids."""

    cache_ok = True
    charset = "ascii"
    collation = "ascii_bin"


class Line(_Text):
    """Unicode text of one line, compared and ordered by code point on every engine."""

    cache_ok = True
    charset = "utf8mb4"
    collation = "utf8mb4_bin"


class Prose(sa.TypeDecorator[str]):
    """Unicode text of any length up to 64 KiB; never a key, never ordered by."""

    impl = sa.Text
    cache_ok = True

    def __repr__(self) -> str:
        return "columns.Prose()"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
            return dialect.type_descriptor(mysql.TEXT(charset="utf8mb4", collation="utf8mb4_bin"))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TEXT(collation="C"))
        return dialect.type_descriptor(sa.Text())


class Document(sa.TypeDecorator[str]):
    """Unicode text as it came, up to 16 MiB, without a NUL; never a key, never ordered by."""

    impl = sa.Text
    cache_ok = True

    def __repr__(self) -> str:
        return "columns.Document()"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
            return dialect.type_descriptor(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TEXT(collation="C"))
        return dialect.type_descriptor(sa.Text())


class Sealed(sa.TypeDecorator[sealing.Sealed]):
    """A value that `base/sealing.py` sealed, up to a number of characters as stored; compared only with itself."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def __repr__(self) -> str:
        return f"columns.Sealed({self.length})"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Exact(self.length).load_dialect_impl(dialect)

    def process_bind_param(self, value: sealing.Sealed | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (SQLAlchemy's signature)
        # Whatever else comes here is a secret that nobody has sealed: it fails instead of being stored.
        return None if value is None else value.stored

    def process_result_value(self, value: str | None, dialect: Dialect) -> sealing.Sealed | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return None if value is None else sealing.Sealed(value)


class Json(sa.TypeDecorator[Any]):
    """A JSON value that we wrote ourselves; None is SQL's NULL."""

    impl = sa.JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def __repr__(self) -> str:
        return "columns.Json()"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.JSON(none_as_null=True))


class Word(sa.TypeDecorator[enum.Enum]):
    """A member of an enum by its name; a new member needs no migration."""

    impl = sa.String
    cache_ok = True

    def __init__(self, kind: type[enum.Enum] | None = None) -> None:
        super().__init__(WORD_CHARACTERS_MAX)
        self.kind = kind
        self._members: dict[str, enum.Enum] = {} if kind is None else dict(kind.__members__)

    def __repr__(self) -> str:
        return "columns.Word()"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Exact(WORD_CHARACTERS_MAX).load_dialect_impl(dialect)

    def process_bind_param(self, value: enum.Enum | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return None if value is None else value.name

    def process_result_value(self, value: str | None, dialect: Dialect) -> enum.Enum | None:  # noqa: ARG002  (SQLAlchemy's signature)
        return None if value is None else self._members[value]

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:  # noqa: ARG002  (SQLAlchemy's signature)
        return self


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A moment, UTC, to the microsecond; naive values are refused."""

    impl = sa.DateTime
    cache_ok = True

    def __repr__(self) -> str:
        return "columns.UtcDateTime()"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored: use db.columns.utc_now()")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  (SQLAlchemy's signature)
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
