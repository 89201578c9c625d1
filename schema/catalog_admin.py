"""What staff say to change the catalog: inputs and payloads for each of its types.

In an update what is not sent stays as it is, and null empties what may be empty. What a value may be is checked by
`actions/catalog.py`.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Annotated

from base.ids import GlobalId
from db.tables.central.catalog import AlgorithmKind
from execution.declare import Doc, input, payload  # noqa: A004  (GraphQL's word)
from execution.scalars import Json
from schema import catalog
from schema.media import MimeType, SizeBytes
from schema.payloads import UserError, UserErrors

Slug = Annotated[str, Doc("Lower-case letters, digits and hyphens, at most 80, e.g. neon-glow; unique among its kind.")]
Name = Annotated[str, Doc("1 to 200 characters, e.g. Neon glow.")]
NewSlug = Annotated[str | None, Doc("Lower-case letters, digits and hyphens, at most 80, e.g. neon-glow.")]
NewName = Annotated[str | None, Doc("1 to 200 characters, e.g. Neon glow.")]
Description = Annotated[str | None, Doc("In sentences; null for none.")]
AssetKey = Annotated[str | None, Doc("What createAssetUpload answered, once the bytes are there.")]
NewCents = Annotated[int | None, Doc("In minor units of the currency, e.g. 999 for 9.99 EUR.")]
NewCurrency = Annotated[str | None, Doc("ISO 4217, e.g. EUR.")]
Features = Annotated[list[str] | None, Doc('What comes with it, in words, e.g. ["Exports in 4K"].')]
Tokens = Annotated[int, Doc("1 or more, e.g. 100.")]
NewTokens = Annotated[int | None, Doc("1 or more, e.g. 100.")]
TrialDays = Annotated[int | None, Doc("Days free of charge, once a tenant, 0 to 730; 0: no trial.")]
CreditsZeroInvoices = Annotated[
    bool | None, Doc("Whether an invoice that takes nothing, as a trial's does, brings the month's tokens; else not.")
]


class _New:
    slug: Slug
    name: Name


class _Changed:
    id: Annotated[GlobalId, Doc("What is changed.")]
    slug: NewSlug = None
    name: NewName = None


class _Described:
    description: Description = None


class _Placed(_Described):
    position: Annotated[int | None, Doc("Shelves stand in this order, smallest first, e.g. 3.")] = None


class _Asset:
    asset_key: AssetKey = None


@input
class CreateCategoryInput(_Placed, _New):
    """A new category."""


@input
class UpdateCategoryInput(_Placed, _Changed):
    """Changes of a category."""


@input
class CreateStyleInput(_Described, _New):
    """A new style."""


@input
class UpdateStyleInput(_Described, _Changed):
    """Changes of a style."""


@input
class CreateFilterInput(_Described, _New):
    """A new filter."""


@input
class UpdateFilterInput(_Described, _Changed):
    """Changes of a filter."""


@input
class CreateOverlayInput(_Asset, _New):
    """A new overlay."""


@input
class UpdateOverlayInput(_Asset, _Changed):
    """Changes of an overlay."""


@input
class CreateWatermarkInput(_Asset, _New):
    """A new watermark."""


@input
class UpdateWatermarkInput(_Asset, _Changed):
    """Changes of a watermark."""


@input
class CreateTagInput(_New):
    """A new tag."""


@input
class UpdateTagInput(_Changed):
    """Changes of a tag."""


@input
class CreateTierInput(_New):
    """A new tier."""

    monthly_price_cents: catalog.Cents
    currency: catalog.Currency
    monthly_tokens: Tokens
    features: Features = None
    trial_days: TrialDays = None
    credits_zero_invoices: CreditsZeroInvoices = None


@input
class UpdateTierInput(_Changed):
    """Changes of a tier; who holds it keeps the old price until the next period."""

    monthly_price_cents: NewCents = None
    currency: NewCurrency = None
    monthly_tokens: NewTokens = None
    features: Features = None
    trial_days: TrialDays = None
    credits_zero_invoices: CreditsZeroInvoices = None


@input
class CreatePackageInput(_New):
    """A new package."""

    price_cents: catalog.Cents
    currency: catalog.Currency
    tokens: Tokens


@input
class UpdatePackageInput(_Changed):
    """Changes of a package."""

    price_cents: NewCents = None
    currency: NewCurrency = None
    tokens: NewTokens = None


class _Running:
    code: Annotated[str | None, Doc("1 to 80 characters, e.g. SPRING; null: applies by itself.")] = None
    starts_at: Annotated[datetime | None, Doc("Not before, e.g. 2026-03-01T00:00:00.000Z; null: at once.")] = None
    ends_at: Annotated[datetime | None, Doc("Not after, e.g. 2026-04-01T00:00:00.000Z; null: without end.")] = None
    package_ids: Annotated[list[GlobalId] | None, Doc("The packages it is for; none: all.")] = None


@input
class CreateDiscountInput(_Running):
    """A new discount."""

    percent_off: Annotated[int, Doc("Whole percent, 1 to 100.")]


@input
class UpdateDiscountInput(_Running):
    """Changes of a discount."""

    id: Annotated[GlobalId, Doc("What is changed.")]
    percent_off: Annotated[int | None, Doc("Whole percent, 1 to 100.")] = None


class _Provided:
    provider: Annotated[str | None, Doc("The provider's name in the settings, for kind HTTP.")] = None


@input
class CreateAlgorithmInput(_Provided, _New):
    """A new algorithm."""

    kind: Annotated[AlgorithmKind, Doc("Who carries it out, e.g. FFMPEG.")]


@input
class UpdateAlgorithmInput(_Provided, _Changed):
    """Changes of an algorithm."""

    kind: Annotated[AlgorithmKind | None, Doc("Who carries it out, e.g. FFMPEG.")] = None


@input
class CreateAiModelInput(_Described, _New):
    """A new model."""


@input
class UpdateAiModelInput(_Described, _Changed):
    """Changes of a model."""


class _Made(_Described):
    preview_url: Annotated[str | None, Doc("A picture or short video of the result, https.")] = None
    is_premium: Annotated[bool | None, Doc("Whether it is for tiers alone.")] = None
    category_id: Annotated[GlobalId | None, Doc("Its category.")] = None
    style_id: Annotated[GlobalId | None, Doc("Its style.")] = None
    model_id: Annotated[GlobalId | None, Doc("The model its algorithm uses.")] = None
    overlay_id: Annotated[GlobalId | None, Doc("The image laid over the video.")] = None
    watermark_id: Annotated[GlobalId | None, Doc("The image the video is marked with.")] = None
    filter_ids: Annotated[list[GlobalId] | None, Doc("All filters it is described by, at most 20.")] = None
    tag_ids: Annotated[list[GlobalId] | None, Doc("All tags it carries, at most 20.")] = None
    parameters: Annotated[
        Json | None, Doc('List of what a job may set, e.g. [{"name": "strength", "kind": "number", "minimum": 0}].')
    ] = None
    graph: Annotated[
        Json | None, Doc('List of filters, e.g. [{"filter": "gblur", "options": {"sigma": "{strength}"}}].')
    ] = None


@input
class CreateEffectInput(_Made, _New):
    """A new effect."""

    token_cost: Annotated[int, Doc("Tokens a job costs, 0 or more.")]
    algorithm_id: Annotated[GlobalId, Doc("How it is computed.")]


@input
class UpdateEffectInput(_Made, _Changed):
    """Changes of an effect; jobs that are queued keep the old price."""

    token_cost: Annotated[int | None, Doc("Tokens a job costs, 0 or more.")] = None
    algorithm_id: Annotated[GlobalId | None, Doc("How it is computed.")] = None


@input
class CreateAssetUploadInput:
    """An image for overlays or watermarks."""

    mime_type: MimeType
    size_bytes: SizeBytes
    sha256: Annotated[str, Doc("Of the bytes, 64 hexadecimal digits.")]


@payload
class AssetUploadPayload:
    """PUT the bytes to uploadUrl with uploadHeaders, then give assetKey to an overlay or watermark."""

    asset_key: str | None = None
    upload_url: Annotated[str | None, Doc("Good for one hour and once.")] = None
    upload_headers: Annotated[Json | None, Doc("Header name → value, all of them needed.")] = None
    user_errors: UserErrors = field(default_factory=list[UserError])


class _Answer:
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class CategoryPayload(_Answer):
    """The category; null when refused."""

    category: catalog.Category | None = None


@payload
class StylePayload(_Answer):
    """The style; null when refused."""

    style: catalog.Style | None = None


@payload
class FilterPayload(_Answer):
    """The filter; null when refused."""

    filter: catalog.Filter | None = None


@payload
class OverlayPayload(_Answer):
    """The overlay; null when refused."""

    overlay: catalog.Overlay | None = None


@payload
class WatermarkPayload(_Answer):
    """The watermark; null when refused."""

    watermark: catalog.Watermark | None = None


@payload
class TagPayload(_Answer):
    """The tag; null when refused."""

    tag: catalog.Tag | None = None


@payload
class TierPayload(_Answer):
    """The tier; null when refused."""

    tier: catalog.Tier | None = None


@payload
class PackagePayload(_Answer):
    """The package; null when refused."""

    package: catalog.Package | None = None


@payload
class DiscountPayload(_Answer):
    """The discount; null when refused."""

    discount: catalog.Discount | None = None


@payload
class AlgorithmPayload(_Answer):
    """The algorithm; null when refused."""

    algorithm: catalog.Algorithm | None = None


@payload
class AiModelPayload(_Answer):
    """The model; null when refused."""

    ai_model: catalog.AiModel | None = None


@payload
class EffectPayload(_Answer):
    """The effect; null when refused."""

    effect: catalog.Effect | None = None
