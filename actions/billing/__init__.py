"""Buying: purchases, held plans, and the provider's events turned into tokens.

What purchases, payments and held plans are stands in `db/tables/central/billing.py`; the files, in the order in which
money passes them:

    a wish to buy        checkout, plans  of  wishes (who, where to, the key), pricing; deployment (its mark)
    the provider's page  sessions (made, found again), expiry (over, closed, or what became of it)
    an event comes       inbox (this process's) → events (stored once, tried to its end) → processing (a batch)
    what it says         readings → facts, marks (whose it is); holding, invoices (a plan and what each invoice brings)
    what follows         recording (added to what is known) → book, states (statuses, tokens, settlements)
    tokens               settlement (into the wallet) → told (what others hear of it)
    asked of the provider  orders (once, until answered) for plans, expiry, refunds, close; observed keeps the answers
    what was missed      reconcile
    people               desk (each command, written down) over refunds, resolving, reconcile; close (a tenant leaves)
    is all well          checks, set_up (doctor), counting (numbers for `/metrics` and status)
"""

from actions.billing.checkout import Checkout, start_checkout
from actions.billing.plans import Plan, cancel_plan, change_plan, resume_plan, start_plan

__all__ = ["Checkout", "Plan", "cancel_plan", "change_plan", "resume_plan", "start_checkout", "start_plan"]
