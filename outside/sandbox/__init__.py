"""A payment provider of our own, on loopback, in test mode: the real `stripe` client speaks to it over real sockets.

`provider.Provider` is all a test needs (tests/provider.py starts one: fixture `provider`):

- `provider.app` answers the API under `provider.base`, with `provider.secret_key`.
- People and banks: `pay(session)`, `pay(session, delayed=True)` then `settle` or `bounce`, `decline`, `expire`;
  `refund(intent, amount)`, `settle_refund`, `fail_refund`, `cancel_refund`; `dispute(intent, kind, amount=)` with
  `withdraw`, `reinstate`, `escalate`, `appeal`, `close_dispute(won=)`; `renew(subscription, paid=)`, `pay_invoice`,
  `settle_invoice`, `bounce_invoice`, `void_invoice`, `give_up`; `clock(days=)`. Ids go in, objects come back.
- `events(*types)` are kept in their order; `signed(event, at=, secret=)` gives headers and raw body to post.
- `next_fault[:] = [500, "cut_after"]` breaks the next requests, one each: 500 and "500_after" (kept under the key),
  409, 429, "cut_before", "cut_after" (the connection ends), "timeout_before", "timeout_after" (held until the caller
  leaves). "after" means that it was done.

As at the real provider: `invoice.payments`, `session.line_items` and `charge.refunds` are null until they are
expanded, in events too (`invoice_payment.paid` names invoice and intent); an intent comes with the first attempt to
pay; refused calls are not kept under their key; a key is forgotten after 24 hours of the provider's clock.

`python -m outside.sandbox` runs it by itself, delivers its events and keeps its state in a folder; `atrium serve`
does so in the embedded set-up.
"""
