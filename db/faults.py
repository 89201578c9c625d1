"""What a database's error means: gone, run the transaction again, or a unique key that is taken.

Told by number and by SQLSTATE: either alone misses some on some driver.
"""

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from base import errors, observe
from db.zones import Zone


class WrongPool(Exception):
    """The database behind a pool's URL says that it is another pool."""


class NoAnswer(Exception):
    """A server that was reached, and then said nothing for as long as anybody waits."""


class RunAgain(Exception):
    """Raised by an action that met a race it cannot mend where it stands: the whole transaction runs again."""


class Unanswered(Exception):
    """The connection broke while it committed: whether the transaction stands is not known, so it is not run again."""


def lost(error: BaseException) -> bool:
    """Whether this error means that the database does not answer, rather than that it refused a statement."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _codes(error.orig) & _GONE != set() or _unreachable(error.orig)
    # A leased connection tells in its driver's own words.
    return (
        isinstance(error, Unanswered | NoAnswer)
        or _unreachable(error)
        or isinstance(error, sa.exc.TimeoutError)
        or type(error).__name__ in _CLOSED
        or (type(error).__module__.startswith(_DRIVERS) and _codes(error) & _GONE != set())
    )


def again(error: BaseException) -> bool:
    """Whether the whole transaction should run again: a conflict, or a connection that had died before its commit."""
    if isinstance(error, RunAgain):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or bool(_codes(error.orig) & _AGAIN) or "database is locked" in str(error.orig)


def told(error: Exception, *, name: str, zone: Zone) -> Exception:
    """The error as it leaves the doors: a database that does not answer, or that others held through every try, becomes
    a Denial and is noted.
    """
    if isinstance(error, errors.AtriumError):
        return error
    if too_slow(error):
        return errors.TimedOut("A statement took longer than one may: ask for less, or try again in a moment.")
    if not lost(error) and not again(error):
        return error
    observe.note(observe.Event.DATABASE_DOWN, database=name, error=repr(error))
    if zone is Zone.POOL:
        return errors.PoolUnavailable("The database of this tenant does not answer: try again in a moment.")
    return errors.CentralUnavailable("The central database does not answer: try again in a moment.")


def too_slow(error: BaseException) -> bool:
    """Whether the server ended a statement because it ran longer than one may."""
    if isinstance(error, DBAPIError):
        return bool(_codes(error.orig) & _TOO_SLOW)
    return type(error).__module__.startswith(_DRIVERS) and bool(_codes(error) & _TOO_SLOW)


def taken(error: BaseException) -> bool:
    """Whether a unique key was violated."""
    return isinstance(error, sa.exc.IntegrityError) and (
        bool(_codes(error.orig) & {"1062", "23505"}) or "UNIQUE constraint failed" in str(error.orig)
    )


# 1305: MariaDB ends a transaction that loses a race with all its savepoints, and going back to one then finds none.
_AGAIN = {"1213", "1305", "1205", "1020", "9007", "8028", "40001", "40P01", "55P03"}
_TOO_SLOW = {"1969", "3024", "57014"}
_GONE = {"2003", "2006", "2013", "2055", "1040", "1053", "57P01", "57P03", "53300", "08006", "08001", "08003"}


_DRIVERS = ("asyncmy", "pymysql", "aiomysql", "asyncpg", "sqlite3")
_CLOSED = {"InterfaceError", "ConnectionDoesNotExistError", "CannotConnectNowError", "AdminShutdownError"}


def _codes(original: BaseException | None) -> set[str]:
    arguments = getattr(original, "args", ()) or ("",)
    return {str(getattr(original, "sqlstate", "")), str(arguments[0])}


def _unreachable(error: BaseException | None) -> bool:
    if error is None:
        return False
    # asyncmy on uvloop raises a RuntimeError under "too many connections".
    return (
        isinstance(error, (OSError, TimeoutError, ConnectionError, WrongPool))
        or (isinstance(error, RuntimeError) and "socket" in str(error))
        or "unable to open database file" in str(error)
    )
