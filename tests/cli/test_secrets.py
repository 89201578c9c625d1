"""`atrium secrets rotate`: after it the older key is not needed any more, and what cannot be opened is told."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from actions import webhooks_out
from actions.webhooks_out import endpoints
from base.sealing import SealBroken
from cli import commands as opening
from db.tables.central.webhooks_out import Webhook
from tenancy import resealing
from tests import world as worlds

PASSWORD = "a long enough password"
NEW = "n" * 40


def inside(doing):
    """Run something in the house that the commands work on."""
    return asyncio.run(opening.within(doing))


async def _hooks(db, tenant, /):
    db.act_for(tenant=tenant)
    return list(await db.all(sa.select(Webhook).where(Webhook.tenant_id == tenant).order_by(Webhook.id)))


async def _make(house):
    shown = []
    for tenant in ("ada1", "bob1"):
        ctx = await house.system_of(tenant)
        shown += [await webhooks_out.create_webhook(ctx, "http://127.0.0.1:9/", ["video.ready"]) for _ in range(3)]
        shown[-1] = await webhooks_out.rotate_secret(ctx, shown[-1].webhook_id)
    return [one.secret for one in shown]


async def _opened(house):
    rows = [row for tenant in ("ada1", "bob1") for row in await house.system().on_system(_hooks, tenant)]
    return [endpoints.secrets_of(house.vault, row, old_too=True)[0] for row in rows], [row.updated_at for row in rows]


@pytest.fixture
def hooks(migrated):
    """The command, and the secrets of six endpoints of two tenants, two of which have an old one too."""
    for name in ("ada", "bob"):
        made = migrated("tenants", "create", name, f"{name}@example.com", "--slug", name, "--password", PASSWORD)
        assert made.code == 0, made.text
    return migrated, inside(_make)


def test_after_a_rotation_the_older_key_is_not_needed_any_more(hooks, monkeypatch):
    atrium, secrets = hooks
    before = inside(_opened)
    assert before[0] == secrets
    monkeypatch.setenv("ATRIUM_SECRET_KEY", f"{NEW},{worlds.SECRET}")
    assert inside(_opened) == before, "the older key still opens"
    monkeypatch.setattr(resealing, "ROWS_A_BATCH_MAX", 2)
    told = atrium("secrets", "rotate")
    assert (told.code, "8 values were sealed anew, 0 were" in told.text) == (0, True), told.text
    assert "0 values were sealed anew, 8 were" in atrium("secrets", "rotate").text
    monkeypatch.setenv("ATRIUM_SECRET_KEY", NEW)
    assert inside(_opened) == before, "the newest alone opens, and nothing else was changed"
    monkeypatch.setenv("ATRIUM_SECRET_KEY", worlds.SECRET)
    with pytest.raises(SealBroken):
        inside(_opened)


def test_what_cannot_be_opened_is_counted_and_left_as_it_is(hooks, monkeypatch):
    atrium, secrets = hooks
    monkeypatch.setenv("ATRIUM_SECRET_KEY", NEW)
    told = atrium("secrets", "rotate")
    assert told.code == 1
    assert "8 values could not be opened" in told.text
    assert not [secret for secret in secrets if secret in told.text]
    monkeypatch.setenv("ATRIUM_SECRET_KEY", worlds.SECRET)
    assert inside(_opened)[0] == secrets
