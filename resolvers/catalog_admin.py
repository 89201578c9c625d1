"""Changing the catalog, for access tokens with `catalog:write`: create, update and archive of each of its types.

One pattern, said once and applied to a list of types; what values may be is the business of `actions/catalog.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from actions import catalog as catalog_actions
from base.ids import GlobalId
from db.tables.central import catalog as tables
from execution.declare import Doc, mutation, sent
from resolvers.payload import payload
from schema import catalog_admin as admin
from schema.catalog import staff
from tenancy.context import Context

# Which table the ids in an input are of.
LEADS_TO: dict[str, type[Any]] = {
    "category_id": tables.Category,
    "style_id": tables.Style,
    "model_id": tables.AiModel,
    "overlay_id": tables.Overlay,
    "watermark_id": tables.Watermark,
    "algorithm_id": tables.Algorithm,
    "filter_ids": tables.Filter,
    "tag_ids": tables.Tag,
    "package_ids": tables.Package,
}


@dataclass(frozen=True, slots=True)
class Administered:
    """A type of the catalog with what staff send and get."""

    name: str  # in Python, e.g. ai_model
    table: type[Any]
    create: type[Any]
    update: type[Any]
    answer: type[Any]


ADMINISTERED = (
    Administered(
        "category", tables.Category, admin.CreateCategoryInput, admin.UpdateCategoryInput, admin.CategoryPayload
    ),
    Administered("style", tables.Style, admin.CreateStyleInput, admin.UpdateStyleInput, admin.StylePayload),
    Administered("filter", tables.Filter, admin.CreateFilterInput, admin.UpdateFilterInput, admin.FilterPayload),
    Administered("overlay", tables.Overlay, admin.CreateOverlayInput, admin.UpdateOverlayInput, admin.OverlayPayload),
    Administered(
        "watermark", tables.Watermark, admin.CreateWatermarkInput, admin.UpdateWatermarkInput, admin.WatermarkPayload
    ),
    Administered("tag", tables.Tag, admin.CreateTagInput, admin.UpdateTagInput, admin.TagPayload),
    Administered("tier", tables.Tier, admin.CreateTierInput, admin.UpdateTierInput, admin.TierPayload),
    Administered("package", tables.Package, admin.CreatePackageInput, admin.UpdatePackageInput, admin.PackagePayload),
    Administered(
        "discount", tables.Discount, admin.CreateDiscountInput, admin.UpdateDiscountInput, admin.DiscountPayload
    ),
    Administered(
        "algorithm", tables.Algorithm, admin.CreateAlgorithmInput, admin.UpdateAlgorithmInput, admin.AlgorithmPayload
    ),
    Administered("ai_model", tables.AiModel, admin.CreateAiModelInput, admin.UpdateAiModelInput, admin.AiModelPayload),
    Administered("effect", tables.Effect, admin.CreateEffectInput, admin.UpdateEffectInput, admin.EffectPayload),
)


def _declare(kind: Administered) -> None:
    async def create(ctx: Context, input: Any) -> Any:
        values = await _values(ctx, input)
        return await payload(kind.answer, ctx.on_central(catalog_actions.create, kind.table, values))

    async def update(ctx: Context, input: Any) -> Any:
        values = await _values(ctx, input)
        row_id = input.id.of(kind.table)
        return await payload(kind.answer, ctx.on_central(catalog_actions.update, kind.table, row_id, values))

    async def archive(ctx: Context, id: GlobalId) -> Any:
        return await payload(kind.answer, ctx.on_central(catalog_actions.archive, kind.table, id.of(kind.table)))

    words = kind.name.replace("_", " ")
    article = "an" if words[0] in "aeiou" else "a"
    fields: tuple[tuple[Callable[..., Any], str, dict[str, Any], str], ...] = (
        (
            create,
            "create",
            {"input": Annotated[kind.create, Doc("What it is.")]},
            f"Add {article} {words} to the catalog.",
        ),
        (update, "update", {"input": Annotated[kind.update, Doc("What changes.")]}, f"Change {article} {words}."),
        (
            archive,
            "archive",
            {"id": Annotated[GlobalId, Doc("What is archived.")]},
            f"Take {article} {words} out of the lists; what refers to it keeps it. Archiving twice changes nothing.",
        ),
    )
    for function, verb, arguments, description in fields:
        function.__annotations__ = {"ctx": Context, **arguments, "return": kind.answer}
        function.__doc__ = description
        mutation(staff, name=f"{verb}_{kind.name}")(function)


for _kind in ADMINISTERED:
    _declare(_kind)


async def _values(ctx: Context, given: object) -> dict[str, object]:
    """What was sent, by column: ids as rows' ids, an uploaded image as its place in the store."""
    values = sent(given)
    values.pop("id", None)
    for name, table in LEADS_TO.items():
        value = values.get(name)
        if isinstance(value, GlobalId):
            values[name] = value.of(table)
        elif isinstance(value, list):
            values[name] = [each.of(table) for each in value]
    if isinstance(key := values.get("asset_key"), str):
        # The image is looked at and copied to a public key before the transaction begins.
        asset = await catalog_actions.place_asset(ctx, key)
        values |= {"asset_key": asset.key, "asset_mime": asset.mime_type}
    elif "asset_key" in values:
        values["asset_mime"] = None
    return values


@mutation(staff)
async def create_asset_upload(
    ctx: Context, input: Annotated[admin.CreateAssetUploadInput, Doc("What is going to be uploaded.")]
) -> admin.AssetUploadPayload:
    """Ask for a place to PUT an image for overlays or watermarks."""
    new = await catalog_actions.create_asset_upload(
        ctx, input.mime_type, size_bytes=input.size_bytes, sha256=input.sha256
    )
    return admin.AssetUploadPayload(asset_key=new.key, upload_url=new.url, upload_headers=new.headers)
