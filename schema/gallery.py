"""The public gallery, and what it adds to effects and videos."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa

from db.tables.central import gallery as tables
from execution.access import public
from execution.declare import (
    Connection,
    Doc,
    column,
    computed,
    computed_once,
    extends,
    input,  # noqa: A004  (GraphQL's word)
    node,
    payload,
    to_many,
    to_one,
)
from execution.prices import SEARCH, costs
from execution.scalars import BigInt
from outside.store import Store
from schema.catalog import Effect
from schema.media import Video
from schema.payloads import UserError, UserErrors
from tenancy.context import Context


def _public_urls(ctx: Context) -> Callable[[str], str]:
    return ctx.house.service(Store).public_urls(ctx.origin)


def _thumbnail_url(ctx: Context, thumbnail_key: str | None) -> str | None:
    return None if thumbnail_key is None else ctx.house.service(Store).public_url(thumbnail_key, ctx.origin)


# An equality, since MariaDB walks no index for IS TRUE.
@node(tables.GalleryVideo, access=public, where=(tables.GalleryVideo.listed == sa.true(),))
class GalleryVideo:
    """A published video as everybody sees it."""

    title: str
    tags: Annotated[list[str], Doc('E.g. ["night", "city"].')]
    processed_file_url: Annotated[
        str, computed_once(_public_urls, "output_key"), Doc("The video itself; does not expire.")
    ]
    thumbnail_url: Annotated[str | None, computed(_thumbnail_url), Doc("A still picture; does not expire.")]
    duration_seconds: Annotated[float | None, Doc("E.g. 12.4.")]
    published_at: datetime
    view_count: Annotated[BigInt, Doc("One a viewer and hour, written every few seconds.")]
    effect: Annotated[Effect | None, to_one("effect_id")]
    tenant_slug: Annotated[str, column("tenant_id"), Doc("subdomain slug of the tenant that published it")]


@extends(Effect)
class _Effect:
    gallery_videos: Annotated[
        Connection[GalleryVideo], to_many("effect_id", order=("-published_at",)), Doc("Newest first.")
    ]


@extends(Video)
class _Video:
    gallery_video: Annotated[GalleryVideo | None, to_one("gallery_video_id"), Doc("Its place in the gallery.")]


@input
class GalleryFilter:
    """Gallery videos that fit all of what is given."""

    effect_slug: Annotated[str | None, Doc("Made with this effect, e.g. neon-glow.")] = None
    category_slug: Annotated[str | None, Doc("Made with an effect of this category, e.g. retro.")] = None
    tags: Annotated[list[str] | None, Doc('With all of these tags, e.g. ["night"]; at most 20.')] = None
    tenant_slug: Annotated[str | None, Doc("Published by this tenant, e.g. alice1.")] = None
    search: Annotated[str | None, costs(SEARCH), Doc("All words as parts of title or tags; at least 2 characters.")] = (
        None
    )


class GalleryOrder(enum.Enum):
    """Both: largest first."""

    NEWEST = "NEWEST"
    MOST_VIEWED = "MOST_VIEWED"


@payload
class GalleryVideoPayload:
    """The gallery's video; null when refused."""

    gallery_video: GalleryVideo | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])
