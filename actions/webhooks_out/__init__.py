"""Tenants' webhooks: endpoints are told what happens in a studio, signed, again and again until they have taken it."""

from actions.webhooks_out.deliveries import due_at, replay_delivery, send_test
from actions.webhooks_out.endpoints import Shown, create_webhook, delete_webhook, known, rotate_secret, update_webhook
from actions.webhooks_out.messages import TYPES

__all__ = [
    "TYPES",
    "Shown",
    "create_webhook",
    "delete_webhook",
    "due_at",
    "known",
    "replay_delivery",
    "rotate_secret",
    "send_test",
    "update_webhook",
]
