"""The closed list of what an operator can be told; the log and `/metrics` are its two readers.

No event carries an access token, a password, a user's text or another tenant's data.
"""

import enum
import logging
import sys
import time
from collections import Counter
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from base.tally import Count, Durations

LOGGER = logging.getLogger("atrium")
# Every request has its line. Only a flood of more than a process could answer in earnest is counted instead, and told.
REQUEST_LINES_A_SECOND_MAX = 10_000
FAULT_STATUSES = range(500, 600)


class Event(enum.Enum):
    """Everything that is ever told, with its level."""

    REQUEST = ("request", logging.INFO)
    REQUESTS_NOT_TOLD = ("requests_not_told", logging.INFO)
    INTERNAL_ERROR = ("internal_error", logging.ERROR)
    STARTED = ("started", logging.INFO)
    STOPPING = ("stopping", logging.INFO)
    BUS_LOST = ("bus_lost", logging.WARNING)
    BUS_UNSENT = ("bus_unsent", logging.WARNING)
    TRANSACTION_AGAIN = ("transaction_again", logging.DEBUG)
    DELIVERY_FAILED = ("delivery_failed", logging.WARNING)
    DATABASE_DOWN = ("database_down", logging.ERROR)
    LOOP_FAILED = ("loop_failed", logging.ERROR)
    WORK_DONE = ("work_done", logging.INFO)
    WORK_FAILED = ("work_failed", logging.WARNING)
    WORK_DEAD = ("work_dead", logging.ERROR)
    MAIL_WRITTEN = ("mail_written", logging.INFO)
    MAIL_FAILED = ("mail_failed", logging.ERROR)
    PROVIDER_FAILED = ("provider_failed", logging.WARNING)
    PAYMENT_EVENT_FAILED = ("payment_event_failed", logging.WARNING)
    SETTLED = ("settled", logging.INFO)
    SETTLEMENT_FAILED = ("settlement_failed", logging.WARNING)
    TENANT_REGISTERED = ("tenant_registered", logging.INFO)
    TENANT_STATE = ("tenant_state", logging.INFO)
    WEBHOOK_DISABLED = ("webhook_disabled", logging.WARNING)
    SWEPT = ("swept", logging.INFO)
    PLAN_FAILED = ("plan_failed", logging.ERROR)
    BUDGETS_NOT_SHARED = ("budgets_not_shared", logging.WARNING)
    GUARD_REFUSED = ("guard_refused", logging.ERROR)


REGISTRY = CollectorRegistry()
EVENTS = Count("atrium_events", "What happened, by kind.", ["event"], registry=REGISTRY)
REQUESTS = Count("atrium_requests", "GraphQL requests by outcome.", ["outcome"], registry=REGISTRY)
REQUEST_SECONDS = Durations(
    "atrium_request_seconds",
    "Time from the request's head to its answer.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)
STATEMENTS = Count("atrium_sql_statements", "SQL statements sent, by database.", ["database"], registry=REGISTRY)
PLANS = Gauge("atrium_plans", "Documents that are kept, with their plans or why they are refused.", registry=REGISTRY)
DOCUMENT_BYTES = Gauge("atrium_document_bytes", "About how many bytes the kept documents are.", registry=REGISTRY)
DOCUMENTS = Count(
    "atrium_documents",
    "Documents asked for: known; new, refused or turned_away (no place on the planning thread); and those evicted.",
    ["outcome"],
    registry=REGISTRY,
)
PLANNED = Count(
    "atrium_operations", "Operations by who answered: a plan, or the library.", ["answered_by"], registry=REGISTRY
)
COST = Count("atrium_cost", "What operations cost: asked for, and of it paid back.", ["kind"], registry=REGISTRY)
COST_REFUSED = Count(
    "atrium_cost_refused", "Operations refused by their cost, by whose limit it was.", ["limit"], registry=REGISTRY
)
LIVE = Gauge("atrium_live_subscriptions", "Open GraphQL subscriptions.", registry=REGISTRY)
WEBHOOKS = Count(
    "atrium_webhook_attempts", "Attempts to tell tenants' endpoints, by outcome.", ["outcome"], registry=REGISTRY
)
MONEY = Gauge("atrium_money", "Rows of money by table and state.", ["table", "state"], registry=REGISTRY)
UNSETTLED_SECONDS = Gauge("atrium_unsettled_seconds", "Age of the oldest settlement that is due.", registry=REGISTRY)
WORK = Count("atrium_work", "Leased work finished, by kind and outcome.", ["kind", "outcome"], registry=REGISTRY)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's own fields first, then what its event carried."""
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "carried", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def to_standard_error(level: int = logging.INFO) -> None:
    """Send every event to standard error, one JSON line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False


def note(event: Event, *, failure: BaseException | None = None, **carried: object) -> None:
    """Tell the operator: counted always, logged at the event's level."""
    name, level = event.value
    EVENTS.labels(name).inc()
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, name, extra={"carried": carried}, exc_info=failure)


class _Lines:
    """How many lines of requests were written in the second that runs."""

    __slots__ = ("not_told", "until", "written")

    def __init__(self) -> None:
        self.until = 0.0
        self.written = self.not_told = 0

    def begin(self, now: float) -> None:
        """A second begins; what the one before left out is told."""
        self.until, self.written = now + 1.0, 0
        if self.not_told:
            count, self.not_told = self.not_told, 0
            note(Event.REQUESTS_NOT_TOLD, requests=count)


_LINES = _Lines()
_REQUESTS = EVENTS.labels(Event.REQUEST.value[0])


def request_needs_line(status: int | None, now: float) -> bool:
    """Count a request at `now` (`time.perf_counter()`), and say whether to `tell_request` of it.

    A fault always has its line.
    """
    _REQUESTS.value += 1
    lines = _LINES
    if now >= lines.until:
        lines.begin(now)
    if lines.written < REQUEST_LINES_A_SECOND_MAX or status in FAULT_STATUSES:
        lines.written += 1
        return True
    lines.not_told += 1
    return False


def tell_request(**carried: object) -> None:
    """Write the line of a request that was counted."""
    name, level = Event.REQUEST.value
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, name, extra={"carried": carried})


def metrics() -> bytes:
    """The Prometheus text of this process."""
    return generate_latest(REGISTRY)


def counts() -> Counter[str]:
    """How often each event was told in this process."""
    return Counter(
        {
            sample.labels["event"]: int(sample.value)
            for metric in EVENTS.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }
    )
