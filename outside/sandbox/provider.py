"""The provider as those hold it who run it: its ASGI app, and what people and banks do to it.

Each act is one call: all its events carry the same second, and it happens whole or not at all. What cannot be done
raises `faults.ApiError`. Ids are taken and objects given back, as the API shows them.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from outside.sandbox import checkout, disputes, intents, invoices, page, refunds, shapes, subscriptions
from outside.sandbox.api import Api
from outside.sandbox.book import Book
from outside.sandbox.faults import Fault
from outside.sandbox.shapes import Body

HOSTS = ["127.0.0.1", "localhost"]
DAY_SECONDS = 24 * 3_600


class Provider:
    """`base` is where it is reached: set it before the first session is made."""

    def __init__(
        self,
        *,
        path: Path | None = None,
        secret_key: str | None = None,
        webhook_secret: str | None = None,
        delivers: bool = False,
    ) -> None:
        """`path`: the file of its state; None keeps it in memory. With `delivers` its events wait to be sent."""
        self.secret_key = secret_key or f"sk_test_{secrets.token_hex(16)}"
        self.webhook_secret = webhook_secret or f"whsec_{secrets.token_hex(16)}"
        self.base = ""
        self.next_fault: list[Fault | None] = []
        self.book = Book(path, delivers=delivers)
        api = Api(self.book, self.secret_key, lambda: self.base, self.next_fault)
        self.app = Starlette(
            routes=[*api.routes(), *page.routes(self.book)],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
        )

    # ------------------------------------------------------------------------------------ what it knows

    def get(self, kind: str, id: str) -> Body:
        """An object by the provider's word for its kind: `checkout.session`, `payment_intent`, `charge`, …"""
        return self.book.get(kind, id)

    def all(self, kind: str, /, **where: Any) -> list[Body]:
        """Every object of a kind with these values, the oldest first."""
        return [*self.book.each(kind, **where)][::-1]

    def events(self, *types: str, since: Body | None = None) -> list[Body]:
        """Events in the order they came about; of these types alone, and after another, where said."""
        found = self.book.each("event") if since is None else self.book.behind("event", since["id"])
        return [event for event in found if not types or event["type"] in types][::-1]

    def differences(self) -> list[str]:
        """Where anything kept is not as the installed library describes it."""
        everything = (body for kind in shapes.CLASSES if kind != "plan" for body in self.book.each(kind))
        return [found for body in everything for found in shapes.differences(body)]

    def signed(
        self, event: Body, *, at: float | None = None, secret: str | None = None
    ) -> tuple[dict[str, str], bytes]:
        """The headers and the raw body of a delivery, signed at a time (now) with a secret (its own)."""
        body = json.dumps(event, indent=2).encode()
        return {"content-type": "application/json; charset=utf-8", **self.signature(body, at=at, secret=secret)}, body

    def signature(self, body: bytes, *, at: float | None = None, secret: str | None = None) -> dict[str, str]:
        """The header that signs any bytes."""
        stamp = int(time.time() if at is None else at)
        digest = hmac.digest((secret or self.webhook_secret).encode(), b"%d.%b" % (stamp, body), "sha256")
        return {"stripe-signature": f"t={stamp},v1={digest.hex()}"}

    # ------------------------------------------------------------------------------------- a checkout

    def pay(self, session: str, *, delayed: bool = False) -> Body:
        """Somebody pays by card; `delayed`: by a bank debit, which `settle` or `bounce` ends. The session."""
        with self.book.call():
            return checkout.pay(self.book, self._session(session), delayed=delayed)

    def decline(self, session: str) -> Body:
        """An attempt fails; the session stays open."""
        with self.book.call():
            return checkout.decline(self.book, self._session(session))

    def settle(self, session: str) -> Body:
        """The bank debit brings its money."""
        with self.book.call():
            return checkout.settle(self.book, self._session(session))

    def bounce(self, session: str) -> Body:
        """The bank debit brings nothing."""
        with self.book.call():
            return checkout.bounce(self.book, self._session(session))

    def expire(self, session: str) -> Body:
        """The session's time is over."""
        with self.book.call():
            return checkout.end(self.book, self._session(session))

    def intent_of(self, session: str) -> Body:
        """The payment intent that a session's money came by; for a subscription its first invoice's."""
        return checkout.intent_of(self.book, self._session(session))

    # --------------------------------------------------------------------------------------- refunds

    def refund(self, payment_intent: str, amount: int | None = None, *, pending: bool | None = None) -> Body:
        """Give back `amount`, or all that is left; `pending` waits for one of the next three."""
        with self.book.call():
            return refunds.make(self.book, intents.charge_of(self.book, payment_intent), amount, pending=pending)

    def settle_refund(self, refund: str) -> Body:
        """A waiting refund arrives."""
        with self.book.call():
            return refunds.settle(self.book, self.get("refund", refund))

    def fail_refund(self, refund: str) -> Body:
        """The bank sends a refund back, also one that had arrived."""
        with self.book.call():
            return refunds.fail(self.book, self.get("refund", refund))

    def cancel_refund(self, refund: str) -> Body:
        """A waiting refund is called off."""
        with self.book.call():
            return refunds.cancel(self.book, self.get("refund", refund))

    # -------------------------------------------------------------------------------------- disputes

    def dispute(
        self,
        payment_intent: str,
        kind: disputes.Kind = "chargeback",
        *,
        amount: int | None = None,
        withdraws: bool = True,
    ) -> Body:
        """A bank disputes some or all of a payment: `chargeback`, `inquiry` (no money) or `prevented`."""
        with self.book.call():
            charge = intents.charge_of(self.book, payment_intent)
            return disputes.begin(self.book, charge, kind, amount, withdraws=withdraws)

    def withdraw(self, dispute: str) -> Body:
        """The bank takes the money."""
        with self.book.call():
            return disputes.withdraw(self.book, self.get("dispute", dispute))

    def reinstate(self, dispute: str) -> Body:
        """The bank gives the money back."""
        with self.book.call():
            return disputes.reinstate(self.book, self.get("dispute", dispute))

    def escalate(self, dispute: str) -> Body:
        """An inquiry becomes a chargeback."""
        with self.book.call():
            return disputes.escalate(self.book, self.get("dispute", dispute))

    def appeal(self, dispute: str) -> Body:
        """A lost dispute is looked at again; `close_dispute` decides anew."""
        with self.book.call():
            return disputes.appeal(self.book, self.get("dispute", dispute))

    def close_dispute(self, dispute: str, *, won: bool) -> Body:
        """The bank decides; won gives the money back."""
        with self.book.call():
            return disputes.close(self.book, self.get("dispute", dispute), won=won)

    # --------------------------------------------------------------------------------- subscriptions

    def renew(self, subscription: str, *, paid: bool = True, delayed: bool = False) -> Body:
        """The period or the trial is over: the next invoice, paid, failed or (`delayed`) waiting for a bank debit.

        A subscription that was to end at its period's end ends instead, and is given back.
        """
        outcome: intents.Outcome = "pending" if delayed else "succeeded" if paid else "failed"
        with self.book.call():
            return subscriptions.renew(self.book, self.get("subscription", subscription), outcome=outcome)

    def pay_invoice(self, invoice: str, *, paid: bool = True) -> Body:
        """An open invoice is asked for again."""
        with self.book.call():
            found = invoices.only_open(self.book, invoice)
            return subscriptions.pay_again(self.book, found, outcome="succeeded" if paid else "failed")

    def settle_invoice(self, invoice: str) -> Body:
        """The bank debit of an invoice brings its money."""
        with self.book.call():
            subscriptions.money_came(self.book, self._intent_of_invoice(invoice))
            return self.get("invoice", invoice)

    def bounce_invoice(self, invoice: str) -> Body:
        """The bank debit of an invoice brings nothing."""
        with self.book.call():
            subscriptions.money_failed(self.book, self._intent_of_invoice(invoice))
            return self.get("invoice", invoice)

    def void_invoice(self, invoice: str) -> Body:
        """Nobody is to pay it any more."""
        with self.book.call():
            return invoices.end(self.book, invoices.only_open(self.book, invoice))

    def give_up(self, subscription: str) -> Body:
        """Every retry failed: the subscription ends."""
        with self.book.call():
            return subscriptions.end(self.book, self.get("subscription", subscription), reason="payment_failed")

    def leave_unpaid(self, subscription: str) -> Body:
        """Every retry failed: the subscription stays, unpaid."""
        with self.book.call():
            return subscriptions.leave_unpaid(self.book, self.get("subscription", subscription))

    # ------------------------------------------------------------------------------------------ time

    def clock(self, *, days: float) -> None:
        """Set the provider's clock ahead: keys are forgotten after a day, sessions end, events after thirty days."""
        self.book.advance(days * DAY_SECONDS)
        with self.book.call():
            checkout.expire_due(self.book)

    def close(self) -> None:
        """Let go of the file."""
        self.book.close()

    def _session(self, id: str) -> Body:
        return self.get("checkout.session", id)

    def _intent_of_invoice(self, invoice: str) -> Body:
        return self.get("payment_intent", str(invoices.intent_of(self.book, invoice)))
