"""Passwords: argon2id in a thread, and a hash that belongs to nobody for addresses that are not known."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from base import errors

PASSWORD_CHARACTERS_MIN = 10
PASSWORD_CHARACTERS_MAX = 500
HASHES_AT_ONCE_MAX = 2

_HASHER = PasswordHasher()
# Checked against when the address is unknown, so that known and unknown cost the same.
_NOBODYS = _HASHER.hash("nobody has this password")
# Each takes 64 MiB and a processor: a flood of log-ins queues here instead of taking the machine.
_TURN = asyncio.Semaphore(HASHES_AT_ONCE_MAX)


def check_new(password: str, *field: str) -> None:
    """Raises Invalid on `field` for a password that is too short, too long or no text."""
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise errors.Invalid(f"A password needs at least {PASSWORD_CHARACTERS_MIN} characters.", *field)
    if len(password) > PASSWORD_CHARACTERS_MAX:
        raise errors.Invalid(f"A password has at most {PASSWORD_CHARACTERS_MAX} characters.", *field)
    try:
        password.encode()
    except UnicodeEncodeError:
        raise errors.Invalid("A password must be text.", *field) from None


async def hashed(password: str) -> str:
    """The hash to keep."""
    async with _TURN:
        return await asyncio.to_thread(_HASHER.hash, password)


async def matches(password: str, kept: str | None) -> bool:
    """Whether the password is the one that was hashed; None takes as long and says no."""
    async with _TURN:
        good = await asyncio.to_thread(_verify, password, kept or _NOBODYS)
    return good and kept is not None


def _verify(password: str, kept: str) -> bool:
    try:
        return _HASHER.verify(kept, password[:PASSWORD_CHARACTERS_MAX])
    except (VerifyMismatchError, VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
