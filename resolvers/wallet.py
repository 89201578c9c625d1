"""The tenant's wallet, read and followed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from execution.access import member
from execution.declare import live, query, the
from schema.wallet import TokenWallet
from tenancy.context import Context


@query(member)
async def wallet() -> TokenWallet:
    """The tenant's tokens."""
    return the(TokenWallet)


@live(member, name="wallet")
async def wallet_changed(ctx: Context) -> AsyncIterator[TokenWallet]:
    """The wallet now and after each change; at most 2 a second."""
    async for _ in ctx.changes("wallet", ctx.tenant_id):
        yield the(TokenWallet)
