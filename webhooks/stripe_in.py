"""`/webhooks/stripe`: the payment provider's events, read, verified, stored, and acknowledged when they are durable.

    200 stored, or known already    400 not signed, or no event in JSON    413 too large    503 cannot be stored now

What an event means is not known here (`actions/billing/`). What is another mode's or account's is stored as foreign
and acknowledged: a provider that is refused again and again stops sending.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime

from starlette.types import Receive, Scope, Send

from actions.billing import marks
from actions.billing.events import Incoming
from actions.billing.inbox import Inbox
from base import errors
from base.errors import UserErrorCode
from outside.stripe_api import Payments
from tenancy import answers
from tenancy.context import House
from webhooks import stripe_signature
from webhooks.stripe_signature import Rejected, Signed

BODY_BYTES_MAX = 1024 * 1024
BODY_SECONDS_MAX = 10.0
API_VERSION_CHARACTERS_MAX = 40
SIGNATURE = b"stripe-signature"


async def receive_event(scope: Scope, receive: Receive, send: Send) -> None:
    """Take one event. Raises Refused, or a Denial where central does not answer."""
    if scope["method"] != "POST":
        raise answers.bad(405, "Events are sent by POST.", [(b"allow", b"POST")])
    house: House = scope["state"]["house"]
    secrets = _secrets(house)
    if not secrets or not house.service(Payments).is_set_up:
        # Without our key nobody knows which mode is ours, and what is kept as foreign stays so.
        no = answers.No(503, UserErrorCode.PROVIDER_UNAVAILABLE.value, "No payment provider is set up here.")
        raise answers.Refused(no)
    body = await _body(scope, receive)
    # Without a type it is taken: a proxy may have lost it, and the signature says whose words these are.
    if not _is_json(answers.header(scope, b"content-type")):
        raise answers.bad(400, "Events are sent as application/json.")
    await house.sessions.clock.ensure(house.sessions.databases.central.reader)
    try:
        event = stripe_signature.verify(
            body, answers.header(scope, SIGNATURE), secrets, now_s=house.sessions.clock.now().timestamp()
        )
    except Rejected as rejected:
        raise answers.bad(400, str(rejected)) from None
    inbox = Inbox.of(house)
    is_new = not inbox.knows(event.name) and await inbox.take(_incoming(house, event, body))
    await answers.answer(send, 200, {"code": "STORED" if is_new else "KNOWN"})


def _is_json(content_type: str | None) -> bool:
    return content_type is None or content_type.partition(";")[0].strip().lower() == "application/json"


def _secrets(house: House) -> list[str]:
    # An empty secret would be one that everybody knows.
    return [each for part in (house.settings.stripe_webhook_secret or "").split(",") if (each := part.strip())]


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The raw bytes, refused while they come when they are too many."""
    length = answers.header(scope, b"content-length") or ""
    if length.isdecimal() and (len(length) > 15 or int(length) > BODY_BYTES_MAX):
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _read(receive)
    except TimeoutError:
        raise errors.TimedOut(f"The event was not sent within {BODY_SECONDS_MAX:.0f} seconds.") from None


async def _read(receive: Receive) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise answers.bad(400, "The event was not sent to its end.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large() -> answers.Refused:
    return answers.bad(413, f"An event has at most {BODY_BYTES_MAX:,} bytes.", [(b"connection", b"close")])


def _incoming(house: House, event: Signed, body: bytes) -> Incoming:
    version = event.fields.get("api_version")
    return Incoming(
        name=event.name,
        type=event.type,
        api_version=version[:API_VERSION_CHARACTERS_MAX] if isinstance(version, str) and _is_word(version) else None,
        occurred_at=datetime.fromtimestamp(event.created_s, UTC),
        body=event.text,
        body_hash=hashlib.sha256(body).hexdigest(),
        # Whose purchase it is comes later.
        is_foreign=marks.is_elsewhere(event.fields, is_live=house.service(Payments).is_live),
    )


def _is_word(text: str) -> bool:
    # PostgreSQL keeps no NUL, so what is no plain word is none for any database.
    return text.isascii() and text.isprintable()
