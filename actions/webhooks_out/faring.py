"""How an endpoint fares: it pauses after failures, and is disabled when it is gone or has failed for days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from actions.webhooks_out import notices, telling
from base.ids import Id
from db import work
from db.session import SystemSession
from db.tables.central.webhooks_out import Webhook, WebhookStatus
from db.zones import TenantId

PAUSE_SECONDS = 5
PAUSE_SECONDS_MAX = 900
FAILING_DAYS_MAX = 3
GONE = "The endpoint answered 410 (gone)."
FAILED_FOR_DAYS = f"Every attempt failed for {FAILING_DAYS_MAX} days."


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker found: whether anything was taken, how many attempts failed, and when the next delivery is due."""

    succeeded: bool
    failed: int
    is_gone: bool
    next_due: datetime | None


async def let_go(db: SystemSession, tenant: TenantId, webhook_id: Id[Webhook], report: Report, /) -> str | None:
    """Write how the endpoint fared, and when it is looked at again; whoever waits for it may have it.

    One success forgets all failures. Where it is disabled, its owner is written to, and the answer is why.
    """
    db.act_for(tenant=tenant)
    here = sa.and_(Webhook.tenant_id == tenant, Webhook.id == webhook_id)
    row = await db.first(sa.select(Webhook).where(here).with_for_update())
    if row is None:
        return None
    # What people changed last is what `updated_at` tells: attempts leave it alone.
    values: dict[str, object] = {"busy_until": None, "updated_at": Webhook.updated_at}
    reason, resume_at = None, None
    if row.status is WebhookStatus.ACTIVE:
        values |= _after(row, report, db.now)
        reason = _why_disabled(report, values.get("failing_since"), db.now)
        resume_at = values.get("resume_at", row.resume_at)
    if reason is not None:
        values |= {"status": WebhookStatus.DISABLED, "disabled_reason": reason, "updated_at": db.now}
        # Queued in the transaction that disables it, so that a crash cannot lose the letter.
        await work.enqueue(db, notices.NOTICE, tenant, ref_id=webhook_id, generation=db.new_id())
    await db.change(sa.update(Webhook).where(here).values(values))
    if report.next_due is not None:
        # What a disabled endpoint has waiting is ended at once.
        waits = resume_at if reason is None and isinstance(resume_at, datetime) else report.next_due
        await telling.wake(db, tenant, [webhook_id], at=None if reason else max(report.next_due, waits))
    return reason


def _after(row: Webhook, report: Report, now: datetime) -> dict[str, object]:
    if report.succeeded:
        return {"failures": 0, "failing_since": None, "resume_at": None}
    if not report.failed:
        return {}
    failures = row.failures + report.failed
    return {"failures": failures, "failing_since": row.failing_since or now, "resume_at": now + pause(failures)}


def pause(failures: int) -> timedelta:
    """How long nothing is sent after so many failures in a row: 5 seconds, doubled up to a quarter of an hour."""
    return timedelta(seconds=min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2 ** min(failures - 1, 10)))


def _why_disabled(report: Report, failing_since: object, now: datetime) -> str | None:
    if report.is_gone:
        return GONE
    if isinstance(failing_since, datetime) and now - failing_since >= timedelta(days=FAILING_DAYS_MAX):
        return FAILED_FOR_DAYS
    return None
