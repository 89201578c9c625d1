"""Any row by its global id: each type by its own rule, another tenant's ids as if there were none."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import sqlalchemy as sa

from base import errors, ids
from base.ids import GlobalId
from execution import access
from execution.access import public
from execution.declare import NODES, Doc, Node, NodeInfo, gathered, one, query, rows
from execution.prices import sliced
from tenancy.context import Context

IDS_MAX = 100


@query(public)
async def node(ctx: Context, id: Annotated[GlobalId, Doc("Any node's id, e.g. Effect_5d2a.")]) -> Node | None:
    """A row by its id; null where there is none for this caller on this host."""
    info, key = _place(ctx, id)
    return one(info.cls, where=[info.key == key])


@query(public, size=sliced("ids"))
async def nodes(
    ctx: Context, ids: Annotated[list[GlobalId], Doc('At most 100, e.g. ["Effect_5d2a"].')]
) -> list[Node | None]:
    """Rows by their ids, in the same order; null where there is none for this caller on this host."""
    if len(ids) > IDS_MAX:
        raise errors.BadUserInput(f'Argument "ids" takes at most {IDS_MAX} ids, not {len(ids)}.')
    places: list[GlobalId | Exception] = []
    keys: dict[str, list[int | str]] = defaultdict(list)
    for id in ids:
        try:
            info, key = _place(ctx, id)
            keys[info.name].append(key)
            places.append(id)
        except errors.NotFound:
            places.append(id)  # no read will find it
        except errors.Denial as denial:
            places.append(denial)
    found = ((NODES[name], some) for name, some in keys.items())
    return gathered(places, [rows(info.cls, where=[info.key.in_(some)], limit=IDS_MAX) for info, some in found])


def _place(ctx: Context, id: GlobalId) -> tuple[NodeInfo, int | str]:
    """The node and key that an id stands for. Raises NotFound, or a Denial where the type is not for this caller."""
    parts = id.parts()
    info = NODES.get(parts[0]) if parts is not None else None
    if parts is None or info is None:
        raise errors.NotFound("There is nothing with this id.", *id.path)
    key: int | str | None
    key = id.of(info.table) if isinstance(info.key.type, sa.BigInteger) else ids.text_key(parts[2])
    if key is None or parts[1] not in (None, id.here):
        raise errors.NotFound("There is nothing with this id.", *id.path)
    access.check(ctx, info.access.asking("read"))
    if info.table.owner == "id" and key != ctx.signed_in.user_id:
        # Two people's ids in one condition is what the guard takes for an attack.
        raise errors.NotFound("There is nothing with this id.", *id.path)
    return info, key
