"""Buying: purchases, held plans, and the provider's events turned into tokens.

What purchases, payments and held plans are stands in `db/tables/central/billing.py`.
"""

from actions.billing.checkout import Checkout, start_checkout
from actions.billing.plans import Plan, cancel_plan, change_plan, resume_plan, start_plan

__all__ = ["Checkout", "Plan", "cancel_plan", "change_plan", "resume_plan", "start_checkout", "start_plan"]
