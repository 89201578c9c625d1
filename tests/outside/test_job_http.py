"""A claim reaches its provider signed, once, and the answer is told apart."""

from __future__ import annotations

import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from outside import egress, job_http, signing_webhooks
from outside.job_http import ProviderRefused, ProviderUnavailable
from tests.outside.receiver import Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_Zm9yLWFub3RoZXItcGVyc29uLW9ubHk="
CLAIM = {
    "jobId": "AiJob_1_2",
    "tenantSlug": "alice1",
    "effectSlug": "dream",
    "attempt": 1,
    "leaseToken": "t",
    "params": {"x": "ü"},
}
LOCAL = egress.parse_allow("127.0.0.0/8:*")


def provider(receiver: Receiver) -> job_http.Provider:
    return job_http.parse_providers(json.dumps({"dreamer": {"url": receiver.url, "secret": SECRET}}))["dreamer"]


async def test_a_claim_arrives_signed_as_the_standard_says():
    async with receiving(status=202) as receiver, egress.client(LOCAL) as client:
        await job_http.offer(provider(receiver), CLAIM, egress=client)
    _, headers, body = receiver.requests[0]
    assert Webhook(SECRET).verify(body, headers) == CLAIM
    assert headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"alice1", b"bob200"), headers)


async def test_the_same_attempt_has_the_same_message_id_and_the_next_another():
    async with receiving(status=202) as receiver, egress.client(LOCAL) as client:
        for attempt in (1, 1, 2):
            await job_http.offer(provider(receiver), CLAIM | {"attempt": attempt}, egress=client)
    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("status", [200, 201, 204, 301, 307, 400, 401, 404, 409, 422])
async def test_an_answer_that_is_not_202_is_a_refusal(status):
    async with receiving(status=status, body=b"") as receiver, egress.client(LOCAL) as client:
        with pytest.raises(ProviderRefused, match=f"dreamer answered {status}"):
            await job_http.offer(provider(receiver), CLAIM, egress=client)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_an_answer_that_says_later_is_unavailable(status):
    async with receiving(status=status) as receiver, egress.client(LOCAL) as client:
        with pytest.raises(ProviderUnavailable):
            await job_http.offer(provider(receiver), CLAIM, egress=client)


async def test_nobody_there_is_unavailable():
    async with receiving() as receiver:
        gone = provider(receiver)
    async with egress.client(LOCAL) as client:
        with pytest.raises(ProviderUnavailable):
            await job_http.offer(gone, CLAIM, egress=client)


async def test_a_provider_inside_is_refused_unless_the_operator_allows_it():
    async with receiving(status=202) as receiver, egress.client() as client:
        with pytest.raises(ProviderRefused, match="may not be reached"):
            await job_http.offer(provider(receiver), CLAIM, egress=client)
        assert receiver.connections == 0


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"a": 1}', '{"a": {"url": "https://x.example"}}', '{"a": {"url": "ftp://x", "secret": "'
     + SECRET + '"}}',
     '{"a": {"url": "https://x.example", "secret": "hush-hush"}}', '{"a": {"url": "https://x.example", "secret": 5}}',
     '{"a": {"url": "https://x.example", "secret": "whsec_c2hvcnQ="}}'],
)  # fmt: skip
def test_wrong_providers_are_refused_without_telling_a_secret(text):
    with pytest.raises(ValueError, match=r"(?i)provider") as refused:
        job_http.parse_providers(text)
    assert "hush" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_no_providers_are_none_and_a_secret_is_not_printed():
    assert job_http.parse_providers("") == {} == job_http.parse_providers("{}")
    known = job_http.parse_providers(json.dumps({"a": {"url": "https://x.example", "secret": SECRET}}))
    assert SECRET not in repr(known)


def test_during_rotation_either_secret_verifies():
    headers = signing_webhooks.sign([SECRET, OTHER], message_id="m", timestamp=1_700_000_000, body=b'{"a":1}')
    assert [part[:3] for part in headers["webhook-signature"].split(" ")] == ["v1,", "v1,"]
    alone = [
        signing_webhooks.sign([one], message_id="m", timestamp=1_700_000_000, body=b'{"a":1}')
        for one in (SECRET, OTHER)
    ]
    assert headers["webhook-signature"] == " ".join(one["webhook-signature"] for one in alone)
