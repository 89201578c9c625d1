"""What mutations answer with: the changed row as a read, a refusal as `userErrors`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from actions.identity import SignedIn
from base import errors
from base.ids import Id
from execution import hints
from execution.declare import NODES, Read, one
from schema.payloads import UserError
from tenancy.context import Context

P = TypeVar("P")
T = TypeVar("T")


async def payload(cls: type[P], doing: Awaitable[object], /, **values: object) -> P:
    """Await the action; its id becomes the read of the payload's one node (or its `deleted_id` is given in `values`).

    `values` are the payload's other fields, reads among them: `wallet=the(TokenWallet)`. They are read
    after the action. A Refusal goes through: the caller's wrapper makes a payload of it (`refused`).
    """
    try:
        done = await doing
    except BaseException:
        for value in values.values():
            if inspect.iscoroutine(value):
                value.close()
        raise
    if isinstance(done, int) and not isinstance(done, bool):
        name, node = _node_field(cls, taken=values)
        values[name] = row(node, Id(done))
    return cls(**values)


def row(node: type[T], row_id: Id[Any]) -> T | None:
    """The read of one row by its id."""
    return one(node, where=[NODES[node.__name__].key == row_id])


def known(node: type[T], values: Mapping[str, object]) -> T:
    """The read of a row whose values, by table attribute, are known already; what it leads to is read as ever."""
    return cast("T", Read(node, "one", values=values))


async def signed_in(ctx: Context, done: SignedIn, read: T) -> T:
    """The read, made as whoever has just signed in, since the request itself may come from nobody."""
    viewer = await ctx.house.viewers.of_token(done.token)
    return cast("T", replace(cast("Read", read), viewer=viewer))


def refused(cls: type, refusal: errors.Refusal) -> object:
    """The payload of a mutation that was refused: every object null, one user error."""
    error = UserError(code=refusal.code, message=refusal.message, field=list(refusal.field) or None)
    return cls(user_errors=[error])


def _node_field(cls: type, *, taken: dict[str, object]) -> tuple[str, type]:
    for name, hint in hints.of_input(cls).items():
        target = hints.inner(hint.plain)
        if name not in taken and isinstance(target, type) and target.__name__ in NODES:
            return name, target
    raise TypeError(f"{cls.__name__} has no node for the id that its action answers")
