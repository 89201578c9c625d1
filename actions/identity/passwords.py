"""Changing and resetting a password; both end the user's other access tokens."""

import hashlib
import secrets
from datetime import timedelta

import sqlalchemy as sa

from actions.identity import hashing, sign_in, tokens
from actions.identity.tokens import SignedIn
from base import errors, observe, texts
from base.ids import Id
from db.session import SystemSession
from db.tables.central.identity import PasswordResetToken, User
from db.zones import TenantId
from outside.mail import Mailer
from tenancy.context import Context, House
from tenancy.handlers import every

RESET_MINUTES = 60
RESETS_AN_HOUR_MAX = 5
RESETS_OF_ADDRESS_MAX = 20
RESET_CHARACTERS_MAX = 200
HOUR_SECONDS = 3_600


async def change_password(ctx: Context, current: str, password: str, /) -> SignedIn:
    """Set a new password for the caller, end their other tokens and answer with a new one.

    1 counts the try; 2 checks and hashes outside any transaction; 3 one central transaction changes
    the hash and the tokens. A crash before 3 leaves all as it was.
    """
    viewer = ctx.signed_in
    hashing.check_new(password, "input", "password")
    await ctx.house.rates.hit(
        "password:change",
        str(viewer.user_id),
        most=sign_in.TRIES_A_WINDOW_MAX,
        window_seconds=sign_in.TRIES_WINDOW_SECONDS,
    )
    kept = await ctx.on_system(_hash_of, viewer.user_id)
    if not await hashing.matches(current, kept):
        raise errors.Invalid("This is not the current password.", "input", "current")
    made = await hashing.hashed(password)
    return await ctx.on_system(_set, ctx.house, viewer.user_id, made=made, old=kept, tenant=viewer.tenant_id)


async def request_password_reset(ctx: Context, email: str, /) -> None:
    """Mail a link that sets a new password, if somebody has this address; neither answer nor time ever tells.

    1 counts the request; then, after the answer, 2 central keeps the secret's hash; 3 the letter is sent. A crash
    after 1 loses the letter; after 2 it leaves a secret that nobody knows and that ends by itself.
    """
    email_key = texts.fold(email)
    rates = ctx.house.rates
    await rates.hit("reset:address", ctx.address, most=RESETS_OF_ADDRESS_MAX, window_seconds=HOUR_SECONDS)
    await rates.hit("reset:account", email_key, most=RESETS_AN_HOUR_MAX, window_seconds=HOUR_SECONDS)
    # On its own: waiting for what is written and sent where there is somebody would tell that there is.
    ctx.house.spawn(_remind(ctx, email_key))


async def _remind(ctx: Context, email_key: str) -> None:
    secret = secrets.token_urlsafe(32)
    # The letter leads to the origin of the settings, never to the request's: any IP address is a central host,
    # so whoever asks could name a machine of theirs that the secret is sent to.
    link = f"{ctx.house.settings.origin}/graphql?reset_token={secret}"
    text = (
        "Somebody, hopefully you, asked for a new password on Atrium.\n\n"
        f"Set it within {RESET_MINUTES} minutes with the mutation resetPassword and the token that ends this link:\n"
        f"{link}\n\n"
        "If it was not you, nothing has changed and nothing needs to be done.\n"
    )
    try:
        address = await ctx.on_system(_keep_secret, email_key, _digest(secret))
        if address is None:
            return
        kept = await ctx.house.service(Mailer).send(address, "A new password for Atrium", text)
    except Exception as error:
        observe.note(observe.Event.MAIL_FAILED, error=repr(error))
    else:
        # Where there is no mail server the log leads to the letter; the secret itself stays out of it.
        observe.note(observe.Event.MAIL_WRITTEN, subject="reset", kept=kept)


async def reset_password(ctx: Context, token: str, password: str, /) -> SignedIn:
    """Set a new password by a mailed secret, once; ends every token and answers with a new one.

    1 hashes outside any transaction; 2 one central transaction uses up the secret, changes the hash
    and the tokens: a crash before its commit leaves the secret usable.
    """
    hashing.check_new(password, "input", "password")
    if len(token) > RESET_CHARACTERS_MAX:
        raise _used_up()
    await ctx.house.rates.hit("reset:use", ctx.address, most=RESETS_OF_ADDRESS_MAX, window_seconds=HOUR_SECONDS)
    digest = _digest(token)
    if not await ctx.on_system(_is_live, digest):
        raise _used_up()
    made = await hashing.hashed(password)
    host = ctx.route.tenant_id if ctx.route is not None else None
    return await ctx.on_system(_use, ctx.house, digest, made=made, host=host)


def _used_up() -> errors.Invalid:
    return errors.Invalid("This link was used, is too old, or never was: ask for a new one.", "input", "token")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


async def _hash_of(db: SystemSession, user_id: Id[User], /) -> str | None:
    return await db.first(sa.select(User.password_hash).where(User.id == user_id))


async def _set(
    db: SystemSession, house: House, user_id: Id[User], /, *, made: str, old: str | None, tenant: TenantId
) -> SignedIn:
    db.act_for(user_id)
    # Compare-and-set: of two changes at once, one wins and the other sees its current password refused.
    if not await db.change(
        sa.update(User).where(User.id == user_id, User.password_hash == old).values(password_hash=made)
    ):
        raise errors.Invalid("This is not the current password.", "input", "current")
    await tokens.end(db, user_id)
    await db.flush()
    return await tokens.issue(db, house, user_id, tenant=tenant, abilities=["*"], device=None)


async def _keep_secret(db: SystemSession, email_key: str, digest: str, /) -> str | None:
    user = await sign_in.find_user(db, email_key)
    if user is None:
        return None
    db.add(PasswordResetToken(user_id=user.id, token_hash=digest, expires_at=db.now + timedelta(minutes=RESET_MINUTES)))
    return user.email


async def _is_live(db: SystemSession, digest: str, /) -> bool:
    return await db.first(_live(db, digest)) is not None


def _live(db: SystemSession, digest: str) -> sa.Select[PasswordResetToken]:
    return sa.select(PasswordResetToken).where(
        PasswordResetToken.token_hash == digest,
        PasswordResetToken.used_at.is_(None),
        PasswordResetToken.expires_at > db.now,
    )


async def _use(db: SystemSession, house: House, digest: str, /, *, made: str, host: TenantId | None) -> SignedIn:
    secret = await db.first(_live(db, digest))
    if secret is None or not await db.change(
        sa.update(PasswordResetToken)
        .where(PasswordResetToken.id == secret.id, PasswordResetToken.used_at.is_(None))
        .values(used_at=db.now)
    ):
        raise _used_up()
    user_id = secret.user_id
    tenant = await sign_in.tenant_of(db, user_id, host=host)
    if tenant is None:
        raise _used_up()
    db.act_for(user_id)
    await db.change(sa.update(User).where(User.id == user_id).values(password_hash=made))
    # Every other letter that was sent is worth nothing from now on.
    await db.change(sa.delete(PasswordResetToken).where(PasswordResetToken.user_id == user_id))
    await tokens.end(db, user_id)
    await db.flush()
    return await tokens.issue(db, house, user_id, tenant=tenant.id, abilities=["*"], device=None)


async def forget_old_secrets(db: SystemSession, /) -> int:
    """Delete reset secrets whose time is over."""
    return await db.change(sa.delete(PasswordResetToken).where(PasswordResetToken.expires_at < db.now))


@every(HOUR_SECONDS, "reset_secrets")
async def sweep_secrets(house: House) -> int:
    """Delete reset secrets whose time is over, every hour."""
    return await house.system().on_system(forget_old_secrets)
