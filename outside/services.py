"""The systems outside as one process opens them: files, mail, ffmpeg, payments. Databases and Redis are not here."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.settings import Settings
from outside import egress, ffmpeg
from outside.egress import Egress
from outside.job_http import Provider, parse_providers
from outside.mail import FolderMailer, Mailer, SmtpMailer
from outside.store import Store, open_store
from outside.stripe_api import Payments


class Ffmpeg:
    """The ffmpeg of this process, looked for when the first job needs it."""

    def __init__(self, configured: str | None) -> None:
        self._find = functools.cache(lambda: ffmpeg.find_ffmpeg(configured))

    @property
    def path(self) -> Path:
        """Where it is. Raises ffmpeg.FfmpegUnusable, saying which was tried and what it lacks."""
        return self._find()


@dataclass(frozen=True)
class Providers:
    """Who carries out `http` algorithms, by name; `origin` is where they find us."""

    named: Mapping[str, Provider]
    egress: Egress
    origin: str

    async def close(self) -> None:
        """Let go of the connections."""
        await self.egress.close()


def open_services(settings: Settings) -> dict[type[Any], Any]:
    """What `House.service` hands out, by kind. Raises ValueError naming the variable that is wrong."""
    return {
        Store: open_store(
            settings.storage_url,
            secret=settings.secret_key,
            aws_access_key_id=settings.aws_access_key_id,
            aws_secret_access_key=settings.aws_secret_access_key,
            upload_bytes_max=settings.upload_bytes_max,
        ),
        Mailer: _mailer(settings),
        # What tenants give us to send to waits for no provider's connections, nor they for these.
        Egress: egress.client(_allowed(settings)),
        Ffmpeg: Ffmpeg(settings.ffmpeg),
        Providers: Providers(
            named=parse_providers(settings.job_providers) if settings.job_providers else {},
            egress=egress.client(_allowed(settings)),
            origin=settings.origin,
        ),
        Payments: Payments(settings.stripe_secret_key, api_base=settings.stripe_api_base),
    }


def _allowed(settings: Settings) -> tuple[egress.Allowed, ...]:
    try:
        return egress.parse_allow(settings.egress_allow or "")
    except ValueError as error:
        raise ValueError(f"ATRIUM_EGRESS_ALLOW: {error}") from None


def _mailer(settings: Settings) -> Mailer:
    if settings.smtp_url is not None:
        return SmtpMailer(settings.smtp_url)
    return FolderMailer(settings.var / "mail")
