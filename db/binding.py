"""The guard's first and third layers: what every session is bound to, and the rules read off the declarations.

Loader criteria put tenant and owner on ORM reads; each row is checked before it is flushed.
The second layer, the reader of the SQL about to be sent, is `db/guard.py`.
"""

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.orm.attributes import get_history
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE

from db.guard import GuardError, Permit, Rule
from db.zones import PoolBase, Scope, Zone, tables


def rules() -> dict[str, Rule]:
    """Every declared table's rule for the reader, by table name."""
    return {
        table.__tablename__: Rule(
            scope=table.scope,
            zone=table.zone,
            tenant=table.tenant_column,
            owner=table.owner,
            credentials=table.credentials,
            swept=table.swept,
        )
        for table in tables()
    }


class BoundSession(Session):
    """The class whose events carry the guard's first and third layers."""


async def bind(inner: AsyncSession, permit: Permit) -> AsyncConnection:
    """Tie a session to its permit and begin: criteria for reads, the connection's option for the reader.

    The option is this transaction's alone, gone when the connection is returned; nothing is put on the driver's.
    """
    inner.sync_session.info["permit"] = permit
    inner.sync_session.info["criteria"] = _criteria(permit)
    return await inner.connection(execution_options={"permit": permit, "writes": True})


@event.listens_for(BoundSession, "do_orm_execute")
def _add_criteria(state: ORMExecuteState) -> None:
    if (state.is_select or state.is_update or state.is_delete) and not state.is_column_load:
        state.statement = state.statement.options(*state.session.info["criteria"])


@event.listens_for(BoundSession, "before_flush")
def _check_rows(session: Session, _context: object, _instances: object) -> None:
    permit: Permit = session.info["permit"]
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, PoolBase) and row.tenant_id != permit.tenant:
            raise GuardError(f"{type(row).__name__} of tenant {row.tenant_id!r} in a session of {permit.tenant!r}")
        owner = type(row).owner
        if owner is not None and permit.owner is not None and getattr(row, owner) != permit.owner:
            raise GuardError(f"{type(row).__name__} of another owner in a session of one member")
        # Asked of one column: a row's state draws up all of its columns for whoever asks for them.
        if "tenant_id" in row.__mapper__.columns and get_history(row, "tenant_id", PASSIVE_NO_INITIALIZE).deleted:
            raise GuardError(f"{type(row).__name__}: tenant_id cannot change")
    permit.flushing = True


@event.listens_for(BoundSession, "after_flush_postexec")
def _flushed(session: Session, _context: object) -> None:
    session.info["permit"].flushing = False


def _criteria(permit: Permit) -> list[Any]:
    # Lambdas, made once a session: plain expressions leave aliases unfiltered, and a conditional lambda is refused.
    tenant, owner = permit.tenant, permit.owner
    made: list[Any] = []
    if tenant is not None:
        made.append(with_loader_criteria(PoolBase, lambda cls: cls.tenant_id == tenant, include_aliases=True))
    if owner is not None:
        for table in tables(Zone.POOL):
            if table.scope is Scope.USER_PRIVATE:
                made.append(with_loader_criteria(table, lambda cls: cls.user_id == owner, include_aliases=True))  # noqa: PERF401
    return made
