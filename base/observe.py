"""The closed list of what an operator can be told; the log and `/metrics` are its two readers.

No event carries an access token, a password, a user's text or another tenant's data.
"""

import enum
import logging
import math
import sys
import time
from collections import Counter
from typing import Any, BinaryIO

import orjson
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from base.lines import Lines
from base.tally import Count, Durations

LOGGER = logging.getLogger("atrium")
FAULT_STATUSES = range(500, 600)


class Event(enum.Enum):
    """Everything that is ever told, with its level."""

    REQUEST = ("request", logging.INFO)
    LINES_LOST = ("lines_lost", logging.WARNING)
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
PAYMENT_EVENT_SECONDS = Gauge(
    "atrium_payment_event_seconds", "How long ago the payment provider's newest event came.", registry=REGISTRY
)
for _age in (UNSETTLED_SECONDS, PAYMENT_EVENT_SECONDS):
    _age.set(math.nan)  # until it was looked: 0 would say that all is well
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


class _Out(logging.Handler):
    """Events to where the lines go, each at once; the logging library flushes it when the process ends."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__()
        self.lines = Lines(out, _line_of_lost)
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        """Put the record's line."""
        self.lines.put(f"{self.format(record)}\n".encode(), at_once=True)

    def flush(self) -> None:
        """Wait for what was told so far to be written, if anybody reads it."""
        self.lines.flush()

    def close(self) -> None:
        """End the thread that writes."""
        self.lines.close()
        super().close()


def _line_of_lost(count: int) -> bytes:
    name, level = Event.LINES_LOST.value
    EVENTS.labels(name).inc()
    return b'{"at":"%b","level":"%b","event":"%b","lines":%d}\n' % (
        _now().encode(),
        logging.getLevelName(level).lower().encode(),
        name.encode(),
        count,
    )


def to_standard_error(level: int = logging.INFO) -> None:
    """Send every event to standard error, one JSON line each."""
    before = LOGGER.handlers[:]
    LOGGER.handlers[:] = [_Out(sys.stderr.buffer)]
    LOGGER.setLevel(level)
    LOGGER.propagate = False
    for handler in before:
        handler.close()


def flush() -> None:
    """Wait until what was told is written: a signal may end the process next."""
    for handler in LOGGER.handlers:
        handler.flush()


def note(event: Event, *, failure: BaseException | None = None, **carried: object) -> None:
    """Tell the operator: counted always, logged at the event's level."""
    name, level = event.value
    EVENTS.labels(name).inc()
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, name, extra={"carried": carried}, exc_info=failure)


_REQUESTS = EVENTS.labels(Event.REQUEST.value[0])
_SECOND: list[Any] = [0, ""]


def _now() -> str:
    """This moment as a line tells it; the part that only changes with the second is kept."""
    now = time.time()
    second = int(now)
    if _SECOND[0] != second:
        _SECOND[:] = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_SECOND[1]}.{int((now - second) * 1000):03d}Z"


def tell_request(
    *,
    id: str,
    kind: str,
    path: str,
    host: str,
    tenant: str | None,
    operation: str | None,
    status: int | None,
    ms: float,
) -> None:
    """Count a request and write its line, with others but for a fault's.

    The texts are ids and names: nothing in them is to be escaped.
    """
    _REQUESTS.value += 1
    if not LOGGER.isEnabledFor(logging.INFO):
        return
    handler = LOGGER.handlers[0] if LOGGER.handlers else None
    if isinstance(handler, _Out):
        line = (
            f'{{"at":"{_now()}","level":"info","event":"request","id":"{id}","kind":"{kind}","path":"{path}",'
            f'"host":"{host}","tenant":{_text(tenant)},"operation":{_text(operation)},'
            f'"status":{"null" if status is None else status},"ms":{ms:.2f}}}\n'
        )
        handler.lines.put(line.encode(), at_once=status in FAULT_STATUSES)
    else:
        carried = {
            "id": id,
            "kind": kind,
            "path": path,
            "host": host,
            "tenant": tenant,
            "operation": operation,
            "status": status,
            "ms": ms,
        }
        LOGGER.info(Event.REQUEST.value[0], extra={"carried": carried})


def _text(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'


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
