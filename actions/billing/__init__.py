"""Buying: purchases, held plans, and the provider's events turned into tokens.

What purchases, payments and held plans are stands in `db/tables/central/billing.py`; the files, in the order in which
money passes them:

    a wish to buy          checkout, plans: of wishes (who, where to, the key) and pricing; deployment (our name there)
    the provider's page    sessions (made, found again), expiry (over, closed, or what became of it)
    an event comes         inbox (of this process), events (stored once, tried to its end), processing (a batch)
    what it says           readings give facts; marks (whose it is), holding, invoices (plans, what an invoice brings)
    what follows from it   recording (added to what is known), book and states (statuses, tokens, settlements)
    tokens move            settlement (into the wallet), told (what others hear of it)
    the provider is asked  orders (once, until answered) for plans, expiry, refunds, closing; observed keeps the answers
    events were missed     reconcile
    people decide          desk (each command, written down) with refunds, resolving; closing (a tenant leaves)
    is all well?           checks and set_up (doctor), counting (numbers for `/metrics` and status)
"""

from actions.billing.checkout import Checkout, start_checkout
from actions.billing.closing import close
from actions.billing.plans import Plan, cancel_plan, change_plan, resume_plan, start_plan

__all__ = ["Checkout", "Plan", "cancel_plan", "change_plan", "close", "resume_plan", "start_checkout", "start_plan"]
