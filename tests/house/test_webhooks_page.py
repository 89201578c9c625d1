"""The page for tenants' developers: its table is what is told, its message has that form, its receiver verifies."""

from __future__ import annotations

import json
import re
import time
from dataclasses import fields

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from actions.webhooks_out import endpoints, faring, sending
from actions.webhooks_out.messages import TEST, TYPES, Message
from db.columns import utc_now
from db.zones import TenantId
from outside import lookups, signing_webhooks
from tests.house import tree

PAGE = (tree.ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def block(kind: str) -> str:
    """The one piece of code of this kind."""
    [found] = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_its_table_names_every_type_that_is_told_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)} == {*TYPES, TEST}


def test_its_message_has_the_form_of_what_is_sent() -> None:
    sent = json.loads(Message.test(7, at=utc_now(), tenant=TenantId("alice1"), correlation_id="c").body)
    assert list(json.loads(block("json"))) == list(sent)
    assert {each.name for each in fields(Message)} == {"event_id", "type", "body"}


def test_its_receiver_verifies_tells_repetitions_and_refuses_forgeries() -> None:
    names: dict = {}
    exec(block("python"), names)  # noqa: S102  (the page's own code is what is tried)
    body = block("json").encode()
    seen: set[str] = set()
    headers = signing_webhooks.sign([SECRET], message_id="evt_1", timestamp=int(time.time()), body=body)
    assert names["receive"](SECRET, headers, body, seen)["type"] == "video.ready"
    assert names["receive"](SECRET, headers, body, seen) is None
    with pytest.raises(WebhookVerificationError):
        names["receive"](SECRET, headers, body + b" ", seen)
    assert Webhook(SECRET).verify(body, headers)


def test_its_numbers_are_those_of_the_code() -> None:
    seconds = [5, *(60 * m for m in (5, 30)), *(3_600 * h for h in (2, 5, 10, 14, 20, 24))]
    assert list(sending.RETRY_SECONDS) == seconds
    assert "5 seconds, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours" in " ".join(PAGE.split())
    assert (sending.ATTEMPTS_MAX, sending.SEND_SECONDS_MAX, sending.JITTER_MAX) == (10, 15, 0.2)
    assert (faring.FAILING_DAYS_MAX, faring.PAUSE_SECONDS_MAX, sending.ANSWER_CHARACTERS_MAX) == (3, 900, 1_000)
    assert lookups.AT_ONCE_EACH_MAX == 2
    assert (endpoints.WEBHOOKS_A_TENANT_MAX, endpoints.OLD_SECRET_HOURS, endpoints.RETENTION_DAYS) == (20, 24, 30)
