"""What a table says of itself: zone, scope, owner, service, references.

Guard, planner, migrations, demo data, doctor and the README's table of placements read
these declarations and nothing else: adding a table means declaring it. Column types are
in `db/columns.py`.
"""

import enum
from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar, NewType, cast, get_origin

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, TypeResolve, declared_attr, mapped_column
from sqlalchemy.types import TypeEngine

from base.ids import Id
from db.columns import Exact, Json, UtcDateTime, Word, utc_now

TenantId = NewType("TenantId", str)

TENANT_ID_CHARACTERS_MAX = 63

_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}


class Zone(enum.Enum):
    """Which database a table lives in."""

    CENTRAL = "central"
    POOL = "pool"


class Scope(enum.Enum):
    """Whose rows they are."""

    GLOBAL = "GLOBAL"  # everybody reads; platform staff write
    USER_SHARED = "USER_SHARED"  # everybody reads; written for one tenant
    USER_PRIVATE = "USER_PRIVATE"  # one user's, inside a tenant
    TENANT = "TENANT"  # all members of one tenant
    INFRA = "INFRA"  # no request reaches it


GLOBAL, USER_SHARED, USER_PRIVATE, TENANT, INFRA = Scope


class OnParentDelete(enum.Enum):
    """What an action does with the rows that refer to a row it deletes; databases never cascade."""

    DELETE = "DELETE"
    NULL = "NULL"
    REFUSE = "REFUSE"


DELETE, NULL, REFUSE = OnParentDelete


class TenantState(enum.Enum):
    """Where a tenant stands in its life, in central and in its pool's fence; only ACTIVE ones are served."""

    PROVISIONING = "PROVISIONING"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    ERASED = "ERASED"


class Declared:
    """The class keywords of every table; wrong ones are refused at import."""

    zone: ClassVar[Zone]
    scope: ClassVar[Scope]
    owner: ClassVar[str | None] = None
    tenant_column: ClassVar[str | None] = None
    credentials: ClassVar[tuple[str, ...]] = ()
    service: ClassVar[str] = "core"
    swept: ClassVar[bool] = False
    purpose: ClassVar[str] = ""

    def __init_subclass__(
        cls,
        *,
        scope: Scope | None = None,
        owner: str | None = None,
        tenant: str | None = None,
        credentials: tuple[str, ...] = (),
        service: str = "core",
        swept: bool = False,
        **kwargs: Any,
    ) -> None:
        """`owner`: column of the owning user; `tenant`: column of the tenant; `credentials`: columns whose
        knowledge opens a row (an e-mail, a secret's hash); `swept`: the sweep may read (tenant_id, id, created_at).
        """
        if "__tablename__" in cls.__dict__:
            if scope is None:
                raise TypeError(f"{cls.__name__} declares no scope: class {cls.__name__}(…, scope=TENANT)")
            cls.scope, cls.service, cls.swept = scope, service, swept
            cls.purpose = (cls.__doc__ or "").partition("\n")[0]
            cls.credentials = credentials
            cls.owner = owner
            cls.tenant_column = tenant if cls.zone is Zone.CENTRAL else "tenant_id"
            if scope is Scope.USER_PRIVATE and owner is None:
                raise TypeError(f"{cls.__name__} is USER_PRIVATE and names no owner column")
            if scope is Scope.USER_PRIVATE and cls.zone is Zone.POOL and owner != "user_id":
                raise TypeError(
                    f"{cls.__name__}: the owner column of a pool table is user_id (the loader criteria need one name)"
                )
            if scope in (Scope.TENANT, Scope.USER_SHARED) and cls.tenant_column is None:
                raise TypeError(f"{cls.__name__} is {scope.name} and names no tenant column")
        super().__init_subclass__(**kwargs)


class CentralBase(Declared, DeclarativeBase):
    """A table that everyone shares. Rows with an id of ours also take `WithId`."""

    metadata = sa.MetaData(naming_convention=_CONVENTION)
    zone = Zone.CENTRAL
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        Id: sa.BigInteger(),
        int: sa.BigInteger(),
        datetime: UtcDateTime(),
    }


class PoolBase(Declared, DeclarativeBase):
    """A tenants' table: `(tenant_id, id)` is the key, and no unique index begins with anything but the tenant."""

    metadata = sa.MetaData(naming_convention=_CONVENTION)
    zone = Zone.POOL
    type_annotation_map: ClassVar[dict[Any, Any]] = CentralBase.type_annotation_map

    tenant_id: Mapped[TenantId] = mapped_column(Exact(TENANT_ID_CHARACTERS_MAX), primary_key=True, sort_order=-20)
    id: Mapped[Id[Any]] = mapped_column(primary_key=True, autoincrement=False, sort_order=-19)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, sort_order=-18)


class WithId:
    """A central row with an id of ours and the moment it was made."""

    id: Mapped[Id[Any]] = mapped_column(primary_key=True, autoincrement=False, sort_order=-19)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, sort_order=-18)


class WithChanges:
    """A row that tells when it last changed."""

    @declared_attr
    def updated_at(cls) -> Mapped[datetime]:  # noqa: N805  (a mapped mixin's first parameter is the class)
        return mapped_column(default=utc_now, onupdate=utc_now, sort_order=90)


@event.listens_for(CentralBase, "resolve_type_annotation")
@event.listens_for(PoolBase, "resolve_type_annotation")
def _enums_and_json(resolve: TypeResolve) -> TypeEngine[Any] | None:
    kind = resolve.resolved_type
    if get_origin(kind) in (list, dict):
        return Json()
    return Word(kind) if isinstance(kind, type) and issubclass(kind, enum.Enum) else None


def soft_ref(table: str, *, on_parent_delete: OnParentDelete = NULL, **kwargs: Any) -> MappedColumn[Any]:
    """A reference over a zone, a service or a pool: checked by the action that writes it, listed for doctor."""
    return mapped_column(info={"soft_ref": table, "on_parent_delete": on_parent_delete}, **kwargs)


def ref(target: str, *, on_parent_delete: OnParentDelete = REFUSE, **kwargs: Any) -> MappedColumn[Any]:
    """A reference inside one central service, by a foreign key: `ref("categories.id")`."""
    return mapped_column(sa.ForeignKey(target), info={"on_parent_delete": on_parent_delete}, **kwargs)


def pool_ref(table: str, *, on_parent_delete: OnParentDelete = REFUSE, **kwargs: Any) -> MappedColumn[Any]:
    """A reference inside a pool: the composite key (tenant_id, x_id) is added by `pool_keys`."""
    return mapped_column(info={"pool_ref": table, "on_parent_delete": on_parent_delete}, **kwargs)


@event.listens_for(PoolBase, "instrument_class", propagate=True)
def pool_keys(_mapper: object, cls: type[PoolBase]) -> None:
    """Give every `pool_ref` its composite foreign key and the index that finds children by parent."""
    table = cast("sa.Table", cls.__table__)
    for column in list(table.columns):
        parent = column.info.get("pool_ref")
        if parent is not None:
            table.append_constraint(
                sa.ForeignKeyConstraint(["tenant_id", column.name], [f"{parent}.tenant_id", f"{parent}.id"])
            )


def tables(zone: Zone | None = None) -> Iterator[type[CentralBase] | type[PoolBase]]:
    """Every declared table of a zone (or both), parents before children of the class tree, by name."""
    found: list[type[CentralBase | PoolBase]] = []
    for base in (CentralBase, PoolBase):
        if zone is None or base.zone is zone:
            found += [mapper.class_ for mapper in base.registry.mappers]
    yield from sorted(found, key=lambda table: (table.zone.value, table.__tablename__))
