"""Every ATRIUM_ variable, typed and read once; the only place that looks at the process's environment."""

import ipaddress
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UPLOAD_BYTES_DEFAULT = 2 * 1024**3
ACCESS_TOKEN_DAYS_DEFAULT = 90
STORAGE_BYTES_DEFAULT = 50 * 1024**3
SECRET_BYTES = 32
PORT_DEFAULT = 8_000
COST_DEFAULT = 2_000

# The variables of a payment provider, and what the place of our own says for each.
PROVIDER = {
    "ATRIUM_STRIPE_API_BASE": "api_base",
    "ATRIUM_STRIPE_SECRET_KEY": "secret_key",
    "ATRIUM_STRIPE_WEBHOOK_SECRET": "webhook_secret",
}


class SettingsError(Exception):
    """A variable that cannot be used; the message names it and says what it should be."""


class Budget(NamedTuple):
    """What a full bucket holds, and what comes back to it in a second."""

    most: int
    per_second: int


class Limits(NamedTuple):
    """How much a document and its variables may hold before anything of them is run."""

    tokens: int = 2_000
    depth: int = 15
    operations: int = 20
    fragments: int = 50
    aliases: int = 50
    aliases_of_a_field: int = 15
    directives: int = 50
    conditions: int = 16
    errors: int = 20
    variable_depth: int = 20
    variable_entries: int = 250


LIMITS = Limits()
BUDGET_ADDRESS, BUDGET_VIEWER, BUDGET_TENANT = Budget(5_000, 500), Budget(20_000, 2_000), Budget(100_000, 10_000)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator set; sizes in bytes, times in the unit of their name.

    `secret_key` signs and seals; `secret_keys` begins with it, the others open what was sealed under them.
    """

    var: Path
    central_url: str
    pools: Mapping[str, str]
    base_domain: str
    embedded: bool
    origin: str
    secret_key: bytes
    secret_keys: tuple[bytes, ...]
    storage_url: str
    redis_url: str | None
    worker_token: str | None
    metrics_token: str | None
    smtp_url: str | None
    trusted_proxies: tuple[Network, ...]
    cors_origins: tuple[str, ...]
    egress_allow: str | None
    job_providers: str | None
    ffmpeg: str | None
    aws_access_key_id: str | None
    aws_secret_access_key: str | None
    upload_bytes_max: int
    storage_bytes_per_tenant: int
    access_token_days: int
    cost_max: int
    budget_address: Budget
    budget_viewer: Budget
    budget_tenant: Budget
    limits: Limits
    stripe_secret_key: str | None
    stripe_webhook_secret: str | None
    stripe_api_base: str | None
    sandbox: bool
    introspection: bool


def read(environment: Mapping[str, str] | None = None, *, loopback: bool = True) -> Settings:
    """The settings of this process. `loopback` says whether the server listens on loopback only.

    Raises SettingsError naming the variable.
    """
    given = {k: v for k, v in (os.environ if environment is None else environment).items() if v != ""}
    var = Path(given.get("ATRIUM_VAR", "var")).absolute()
    own = [name for name in ("ATRIUM_CENTRAL_URL", "ATRIUM_POOLS", "ATRIUM_BASE_DOMAIN") if name in given]
    embedded = not own and loopback
    sandbox = embedded and PROVIDER.keys().isdisjoint(given)
    provider = _sandbox(var) if sandbox else given
    secret_keys = _secrets(given.get("ATRIUM_SECRET_KEY"), var, own)
    return Settings(
        var=var,
        central_url=given.get("ATRIUM_CENTRAL_URL", _sqlite(var / "central.sqlite3")),
        pools=_pools(given.get("ATRIUM_POOLS"), var),
        base_domain=given.get("ATRIUM_BASE_DOMAIN", "localhost").lower().strip("."),
        embedded=embedded,
        origin=given.get("ATRIUM_ORIGIN", _origin(given.get("ATRIUM_BASE_DOMAIN"))).rstrip("/"),
        secret_key=secret_keys[0],
        secret_keys=secret_keys,
        storage_url=given.get("ATRIUM_STORAGE_URL", f"file://{quote(str(var / 'store'))}"),
        redis_url=_redis(given.get("ATRIUM_REDIS_URL")),
        worker_token=_long_enough("ATRIUM_WORKER_TOKEN", given.get("ATRIUM_WORKER_TOKEN")),
        metrics_token=given.get("ATRIUM_METRICS_TOKEN"),
        smtp_url=given.get("ATRIUM_SMTP_URL"),
        trusted_proxies=_networks("ATRIUM_TRUSTED_PROXIES", given.get("ATRIUM_TRUSTED_PROXIES", "")),
        cors_origins=tuple(o.strip().rstrip("/") for o in given.get("ATRIUM_CORS_ORIGINS", "").split(",") if o.strip()),
        egress_allow=given.get("ATRIUM_EGRESS_ALLOW", "127.0.0.0/8:*,::1/128:*" if embedded else None),
        job_providers=given.get("ATRIUM_JOB_PROVIDERS"),
        ffmpeg=given.get("ATRIUM_FFMPEG"),
        aws_access_key_id=given.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=given.get("AWS_SECRET_ACCESS_KEY"),
        upload_bytes_max=_whole("ATRIUM_UPLOAD_BYTES_MAX", given, UPLOAD_BYTES_DEFAULT),
        storage_bytes_per_tenant=_whole("ATRIUM_STORAGE_BYTES", given, STORAGE_BYTES_DEFAULT),
        access_token_days=_whole("ATRIUM_ACCESS_TOKEN_DAYS", given, ACCESS_TOKEN_DAYS_DEFAULT),
        cost_max=_whole("ATRIUM_COST_MAX", given, COST_DEFAULT),
        budget_address=_budget("ATRIUM_BUDGET_ADDRESS", given, BUDGET_ADDRESS),
        budget_viewer=_budget("ATRIUM_BUDGET_VIEWER", given, BUDGET_VIEWER),
        budget_tenant=_budget("ATRIUM_BUDGET_TENANT", given, BUDGET_TENANT),
        limits=_limits(given.get("ATRIUM_LIMITS", "")),
        stripe_secret_key=provider.get("ATRIUM_STRIPE_SECRET_KEY"),
        stripe_webhook_secret=provider.get("ATRIUM_STRIPE_WEBHOOK_SECRET"),
        stripe_api_base=provider.get("ATRIUM_STRIPE_API_BASE"),
        sandbox=sandbox,
        introspection=given.get("ATRIUM_INTROSPECTION", "on") != "off",
    )


def _sandbox(var: Path) -> Mapping[str, str]:
    """Where our own payment provider was started last for this folder, as another one's variables; else nothing."""
    try:
        place = json.loads((var / "sandbox" / "place.json").read_bytes())
        return {name: str(place[key]) for name, key in PROVIDER.items()}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}


def _sqlite(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def _origin(base_domain: str | None) -> str:
    return f"http://localhost:{PORT_DEFAULT}" if base_domain is None else f"https://{base_domain}"


def _pools(text: str | None, var: Path) -> dict[str, str]:
    if text is None:
        return {name: _sqlite(var / f"{name}.sqlite3") for name in ("tenant_pool_1", "tenant_pool_2")}
    try:
        pools = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"ATRIUM_POOLS is no JSON: {error}") from error
    if not isinstance(pools, dict) or not pools or not all(isinstance(url, str) for url in pools.values()):
        raise SettingsError('ATRIUM_POOLS must be a JSON object: {"tenant_pool_1": "mysql+aiomysql://…"}')
    return pools


def _secrets(text: str | None, var: Path, own: Sequence[str]) -> tuple[bytes, ...]:
    if text is not None:
        keys = [part.strip() for part in text.split(",")]
        if min(map(len, keys)) < SECRET_BYTES:
            raise SettingsError(
                f"ATRIUM_SECRET_KEY must have at least {SECRET_BYTES} characters; a comma parts it from older keys, "
                "each as long"
            )
        return tuple(key.encode() for key in keys)
    if own:
        raise SettingsError(f"ATRIUM_SECRET_KEY is required when {own[0]} is set: any {SECRET_BYTES} random characters")
    path = var / "secret.key"
    var.mkdir(parents=True, exist_ok=True)
    try:
        # Exclusive creation: of two processes that start at once, one writes and both read the same.
        with path.open("x", encoding="ascii") as file:
            path.chmod(0o600)
            file.write(secrets.token_hex(SECRET_BYTES))
    except FileExistsError:
        pass
    return (path.read_text(encoding="ascii").encode(),)


def _redis(url: str | None) -> str | None:
    if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError("ATRIUM_REDIS_URL must be redis://…, rediss://… or unix://…")
    return url


def _networks(name: str, text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"{name} must be networks such as 10.0.0.0/8, parted by commas: {error}") from error


def _whole(name: str, given: Mapping[str, str], default: int) -> int:
    text = given.get(name, str(default))
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(f"{name} must be a whole number above 0, not {text!r}")
    return int(text)


def _budget(name: str, given: Mapping[str, str], default: Budget) -> Budget:
    text = given.get(name)
    if text is None:
        return default
    most, _, per_second = text.partition("+")
    if not (most.isdecimal() and per_second.isdecimal() and int(most) and int(per_second)):
        raise SettingsError(f"{name} must be what it holds and what comes back a second, as in 5000+500, not {text!r}")
    return Budget(int(most), int(per_second))


def _limits(text: str) -> Limits:
    given: dict[str, int] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, number = part.partition("=")
        if name not in Limits._fields or not number.isdecimal() or not int(number):
            raise SettingsError(
                f"ATRIUM_LIMITS must be numbers above 0 by name, as in tokens=4000,depth=20, not {part!r}; the names "
                f"are {', '.join(Limits._fields)}"
            )
        given[name] = int(number)
    return Limits(**given)


def _long_enough(name: str, text: str | None) -> str | None:
    if text is not None and len(text) < SECRET_BYTES:
        raise SettingsError(f"{name} must have at least {SECRET_BYTES} characters")
    return text
