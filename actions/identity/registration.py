"""Registering: user, tenant, place, first rows, host; finished or finished later, never half a tenant."""

import re
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from actions.identity import founding, hashing, sign_in, tokens
from actions.identity.tokens import Device, SignedIn
from base import errors, observe, texts
from base.ids import Id
from db.session import SystemSession
from db.tables.central.identity import Domain, MemberKind, Tenant, TenantMember, User
from db.zones import TenantId, TenantState
from tenancy import placement
from tenancy.context import Context, House
from tenancy.directory import Route
from tenancy.handlers import every

REGISTRATIONS_AN_HOUR_MAX = 5
HOUR_SECONDS = 3_600
EMAIL_CHARACTERS_MAX = 320
SLUG_CHARACTERS_MAX = 40
SLUG_NUMBERS_TRIED = 20
SLUG_TRIES_MAX = 8
UNFINISHED_SECONDS = 60
UNFINISHED_MAX = 100
RESERVED = frozenset(
    (
        *("www", "api", "admin", "mail", "static", "files", "uploads", "graphql", "webhooks", "healthz", "readyz"),
        *("metrics", "explorer", "app", "auth", "login", "register", "account", "billing", "support", "help"),
        *("status", "docs", "blog", "cdn", "assets", "public", "test"),
    )
)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for when registering, checked."""

    name: str
    email: str
    slug: str
    referred_by: str | None
    device: Device | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A registration that stands in central and waits for its pool."""

    user_id: Id[User]
    tenant: TenantId
    pool: str
    epoch: int
    password_hash: str | None


async def register(
    ctx: Context,
    name: str,
    email: str,
    password: str,
    /,
    *,
    slug: str | None = None,
    referral_slug: str | None = None,
    device: Device | None = None,
) -> SignedIn:
    """Make a user and their tenant, and sign them in.

    1 one central transaction: user, tenant PROVISIONING with its pool, membership; 2 one pool
    transaction: fence, wallet, what every tenant begins with; 3 one central transaction: host, ACTIVE,
    access token. A crash after 1 or 2 leaves a tenant that outsiders do not see: the same call with the
    same password finishes it, and so does `finish_registrations` within a minute or two.
    """
    if ctx.route is not None:
        raise errors.NotAllowed("Register on the central host.")
    wish = Wish(
        name=texts.line(name, "input", "name", most=texts.NAME_CHARACTERS_MAX),
        email=_email(email),
        slug=_slug(slug, name),
        referred_by=referral_slug,
        device=sign_in.checked(device),
    )
    hashing.check_new(password, "input", "password")
    if not ctx.is_system:  # an operator's command has no address, and no strangers behind it
        await ctx.house.rates.hit("register", ctx.address, most=REGISTRATIONS_AN_HOUR_MAX, window_seconds=HOUR_SECONDS)
    password_hash = await hashing.hashed(password)
    begun = await ctx.on_system(begin, wish, password_hash, pools=tuple(ctx.house.settings.pools))
    if begun.password_hash is not None and not await hashing.matches(password, begun.password_hash):
        raise _taken()
    return await _finish(ctx, begun, device=wish.device)


def _taken() -> errors.Taken:
    return errors.Taken("Somebody has registered with this e-mail address: sign in instead.", "input", "email")


async def _finish(ctx: Context, begun: Begun, /, *, device: Device | None) -> SignedIn:
    route = Route(begun.tenant, TenantState.PROVISIONING, begun.pool, begun.epoch)
    await ctx.for_tenant(route).found(founding.found, begun.user_id, pool=begun.pool, epoch=begun.epoch)
    signed_in = await ctx.on_system(_let_in, ctx.house, begun, device=device)
    observe.note(observe.Event.TENANT_REGISTERED, tenant=begun.tenant, pool=begun.pool)
    return signed_in


async def begin(db: SystemSession, wish: Wish, password_hash: str, /, *, pools: tuple[str, ...]) -> Begun:
    """User, tenant and membership in central; an unfinished registration of the same address is taken up again.

    `Begun.password_hash` is set where the address was known: the caller compares before going on. Raises
    Taken where that tenant is finished.
    """
    email_key = texts.fold(wish.email)
    user = User(name=wish.name, email=wish.email, email_key=email_key, password_hash=password_hash, is_staff=False)
    known = await sign_in.find_user(db, email_key)
    if known is None and not await db.insert_once(user):
        known = await sign_in.find_user(db, email_key)
    if known is not None:
        return await _take_up(db, known)
    if wish.referred_by is not None:
        sender = await db.first(
            sa.select(Tenant.id).where(Tenant.id == wish.referred_by, Tenant.state == TenantState.ACTIVE)
        )
        # MariaDB finds `alice1 ` too, which would be kept as nobody's name.
        if sender != wish.referred_by:
            raise errors.NotFound("Nobody has this slug.", "input", "referralSlug")
    tenant = await _place(db, user, wish, pools)
    db.add(TenantMember(tenant_id=tenant.id, user_id=user.id, kind=MemberKind.OWNER))
    return Begun(user.id, tenant.id, tenant.db_pool, tenant.epoch, None)


async def _take_up(db: SystemSession, known: User) -> Begun:
    tenant = await db.first(sa.select(Tenant).where(Tenant.user_id == known.id).order_by(Tenant.created_at))
    if tenant is None or tenant.state is not TenantState.PROVISIONING:
        raise _taken()
    return Begun(known.id, tenant.id, tenant.db_pool, tenant.epoch, known.password_hash)


async def _place(db: SystemSession, user: User, wish: Wish, pools: tuple[str, ...], /) -> Tenant:
    pool = await placement.choose(db, pools)
    for lost in range(SLUG_TRIES_MAX):
        tenant = Tenant(
            id=TenantId(await _free_slug(db, wish.slug, among=2**lost)),
            user_id=user.id,
            name=wish.name,
            db_pool=pool,
            state=TenantState.PROVISIONING,
            epoch=1,
            referred_by=wish.referred_by,
        )
        # A name lost in a race is tried again with one of the next: the more often, the further they spread.
        if await db.insert_once(tenant):
            return tenant
    raise errors.Conflict("This name is in great demand: try again.", "input", "slug")


async def _free_slug(db: SystemSession, base: str, *, among: int) -> str:
    wished = [f"{base}{number}" for number in range(1, SLUG_NUMBERS_TRIED + 1)]
    used = set(await db.all(sa.select(Tenant.id).where(Tenant.id.in_(wished))))
    free = [slug for slug in wished if slug not in used]
    return secrets.choice(free[:among]) if free else f"{base}{secrets.randbelow(10**6) + 100}"


async def _let_in(db: SystemSession, house: House, begun: Begun, /, *, device: Device | None) -> SignedIn:
    await activate(db, begun, base_domain=house.settings.base_domain)
    return await tokens.issue(db, house, begun.user_id, tenant=begun.tenant, abilities=["*"], device=device)


async def activate(db: SystemSession, begun: Begun, /, *, base_domain: str) -> None:
    """The tenant's host and its state; safe to run again."""
    host = f"{begun.tenant}.{base_domain}"
    db.act_for(begun.user_id, tenant=begun.tenant)
    if await db.first(sa.select(Domain).where(Domain.host == host)) is None:
        await db.insert_once(Domain(tenant_id=begun.tenant, host=host, is_primary=True))
    await db.change(
        sa.update(Tenant)
        .where(Tenant.id == begun.tenant, Tenant.state == TenantState.PROVISIONING)
        .values(state=TenantState.ACTIVE, placed_at=db.now)
    )
    db.tell("directory", host)
    db.tell("directory", begun.tenant)


@every(UNFINISHED_SECONDS / 2, "registrations")
async def finish_registrations(house: House) -> int:
    """Finish what a crash left in the middle; the answer is how many. Those of a pool that is down wait for it."""
    done, down = 0, set[str]()
    for begun in await house.system().on_system(_unfinished):
        if begun.pool in down:
            continue
        try:
            await _finish_one(house, begun)
        except errors.PoolUnavailable:
            down.add(begun.pool)
        else:
            done += 1
    return done


async def _finish_one(house: House, begun: Begun) -> None:
    route = Route(begun.tenant, TenantState.PROVISIONING, begun.pool, begun.epoch)
    await house.system(tenant=route).found(founding.found, begun.user_id, pool=begun.pool, epoch=begun.epoch)
    # Nobody is there to be shown an access token: they sign in.
    await house.system().on_system(activate, begun, base_domain=house.settings.base_domain)


async def _unfinished(db: SystemSession, /) -> list[Begun]:
    before = db.now - timedelta(seconds=UNFINISHED_SECONDS)
    rows = await db.all(
        sa.select(Tenant)
        .where(Tenant.state == TenantState.PROVISIONING, Tenant.created_at < before)
        .order_by(Tenant.created_at)
        .limit(UNFINISHED_MAX)
    )
    return [Begun(row.user_id, row.id, row.db_pool, row.epoch, None) for row in rows]


def _email(text: str) -> str:
    email = texts.line(text, "input", "email", most=EMAIL_CHARACTERS_MAX)
    # Also as it is compared: folding may make a text many times as long, with blanks and more than one @ in it.
    folded = texts.fold(email)
    if not (_EMAIL.fullmatch(email) and _EMAIL.fullmatch(folded) and len(folded) <= EMAIL_CHARACTERS_MAX):
        raise errors.Invalid("This is no e-mail address.", "input", "email")
    return email


def _slug(wished: str | None, name: str) -> str:
    if wished is not None:
        slug = wished.strip().lower()
        if not _SLUG.fullmatch(slug) or len(slug) > SLUG_CHARACTERS_MAX:
            raise errors.Invalid(
                f"A slug has 1 to {SLUG_CHARACTERS_MAX} of a–z, 0–9 and inner hyphens.", "input", "slug"
            )
        if slug.rstrip("0123456789-") in RESERVED or slug.startswith("xn--"):
            raise errors.Invalid("This slug is reserved.", "input", "slug")
        return slug
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    made = re.sub(r"[^a-z0-9]+", "-", plain.split("@")[0]).strip("-")[:SLUG_CHARACTERS_MAX].strip("-")
    return "studio" if not made or made.rstrip("0123456789-") in RESERVED or made.startswith("xn--") else made
