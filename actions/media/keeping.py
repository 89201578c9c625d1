"""Which objects under the tenants' prefix a file still stands for: what the sweep of the store must leave alone."""

from collections.abc import Sequence

from actions import store_sweep
from actions.media import files
from base import errors
from db.zones import TenantId, TenantState
from tenancy.context import House


@store_sweep.keeps("t/", complete=True)
async def living(house: House, keys: Sequence[str]) -> set[str]:
    by_tenant: dict[str, list[str]] = {}
    for key in keys:
        by_tenant.setdefault(key.split("/")[1], []).append(key)
    kept: set[str] = set()
    for digits, own in by_tenant.items():
        kept |= await _of_tenant(house, digits, own)
    return kept


async def _of_tenant(house: House, digits: str, keys: list[str]) -> set[str]:
    try:
        tenant = TenantId(bytes.fromhex(digits).decode())
    except ValueError:
        return set(keys)
    route = await house.directory.of_tenant(tenant)
    if route is None:
        # Nobody's that we know: a store shared by mistake, or a centre brought back from an old copy. Not ours to take.
        return set(keys)
    if route.state is TenantState.ERASED:
        return set()
    try:
        return await house.system(tenant=route).on_pool(files.living, keys)
    except errors.PoolUnavailable:
        # One pool that is down does not keep the others' stores from being swept.
        return set(keys)
