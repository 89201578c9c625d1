"""Create, update and archive for every type of the catalog; what its values may be is in `checks.py` and `rules.py`."""

from collections.abc import Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from actions.catalog import checks, rules
from base import errors
from base.ids import Id
from db import faults
from db.session import CentralSession
from db.tables.central.catalog import (
    AiModel,
    Algorithm,
    Category,
    Discount,
    DiscountPackage,
    Effect,
    EffectFilter,
    EffectTag,
    Filter,
    Overlay,
    Package,
    Style,
    Tag,
    Watermark,
)

Row = TypeVar("Row", bound=Any)
Values = Mapping[str, object]

# What a reference leads to, and the link table of a list of them.
LEADS_TO: Mapping[str, type[Any]] = {
    "category_id": Category,
    "style_id": Style,
    "algorithm_id": Algorithm,
    "model_id": AiModel,
    "overlay_id": Overlay,
    "watermark_id": Watermark,
    "filter_ids": Filter,
    "tag_ids": Tag,
    "package_ids": Package,
}
LINKS: Mapping[tuple[type[Any], str], tuple[type[Any], str, str]] = {
    (Effect, "filter_ids"): (EffectFilter, "effect_id", "filter_id"),
    (Effect, "tag_ids"): (EffectTag, "effect_id", "tag_id"),
    (Discount, "package_ids"): (DiscountPackage, "discount_id", "package_id"),
}
# What stands in a column of a new row where nothing was said, or null.
DEFAULTS: Mapping[str, object] = {
    "position": 0,
    "is_premium": False,
    "trial_days": 0,
    "credits_zero_invoices": False,
    "popularity": 0,
    "features": [],
    "parameters": [],
    "graph": [],
    "search_text": "",
    "name_key": "",
    "code_key": "",
}
# Kept by the house itself, whatever is sent.
OURS = {"id", "created_at", "updated_at", "archived_at", "name_key", "code_key", "search_text", "popularity"}


async def create(db: CentralSession, table: type[Row], values: Values, /) -> Id[Row]:
    """Add a row to the catalog; `values` by column, links as `tag_ids` and the like.

    Raises Invalid, NotFound (a reference) and Taken (slug or code), each naming its field.
    """
    given = {key: value for key, value in values.items() if value is not None}
    row = _new(table, db.new_id(), given)
    links = await _leads(db, table, given)
    await rules.settle(db, row)
    await _check_free(db, table, row)
    if not await db.insert_once(row):
        raise _taken(table)
    return await _written(db, row, links)


def _new(table: type[Row], row_id: Id[Any], given: Values) -> Row:
    row: Row = table(id=row_id)
    for name in _columns(table):
        if name in given and name not in OURS:
            setattr(row, name, checks.checked(name, given[name]))
        elif name in DEFAULTS:
            default = DEFAULTS[name]
            setattr(row, name, list(default) if isinstance(default, list) else default)
        elif name not in OURS and not table.__table__.columns[name].nullable:
            raise errors.Invalid("This is needed.", *checks.path(name))
    return row


async def update(db: CentralSession, table: type[Row], row_id: Id[Row], values: Values, /) -> Id[Row]:
    """Change what `values` names; None empties what may be empty. Raises as `create`, and NotFound on `input.id`."""
    row = await db.get_one(table, row_id, "input", "id")
    # Before the row changes: a statement sends what was changed, and a false reference is the database's to refuse.
    links = await _leads(db, table, values)
    _change(row, values)
    try:
        await rules.settle(db, row)
        await _check_free(db, table, row)
        return await _written(db, row, links)
    except sa.exc.IntegrityError as error:
        if faults.taken(error):
            raise _taken(table) from None
        raise


def _change(row: Any, values: Values) -> None:
    columns = type(row).__table__.columns
    for name in _columns(type(row)):
        if name not in values or name in OURS:
            continue
        if values[name] is not None:
            setattr(row, name, checks.checked(name, values[name]))
        elif columns[name].nullable:
            setattr(row, name, None)
        else:
            raise errors.Invalid("This must not be empty.", *checks.path(name))


async def archive(db: CentralSession, table: type[Row], row_id: Id[Row], /) -> Id[Row]:
    """Take a row out of the lists; what refers to it keeps it. Idempotent. Raises NotFound."""
    row = await db.get_one(table, row_id, "id")
    if row.archived_at is None:
        row.archived_at = db.now
        db.tell("catalog", table.__name__)
    return row_id


def _columns(table: type[Any]) -> list[str]:
    """The stored columns; what a table computes on reading is none of them."""
    return [attribute.key for attribute in sa.inspect(table).column_attrs if attribute.key in table.__table__.columns]


async def _leads(db: CentralSession, table: type[Any], values: Values) -> dict[str, list[Any]]:
    """The links that were sent, every reference checked."""
    links: dict[str, list[Any]] = {}
    for name, target in LEADS_TO.items():
        value = values.get(name)
        if name not in values or (value is None and name.endswith("_id")):
            continue
        if name.endswith("_id"):
            await rules.check_leads(db, name, target, [Id(value)])  # type: ignore[call-overload]
        elif (table, name) in LINKS:
            links[name] = [] if value is None else list(checks.checked(name, value))  # type: ignore[call-overload]
            await rules.check_leads(db, name, target, links[name])
    return links


async def _written(db: CentralSession, row: Any, links: dict[str, list[Any]]) -> Id[Any]:
    await db.flush()
    table = type(row)
    for name, ids in links.items():
        link, own, other = LINKS[table, name]
        await db.change(sa.delete(link).where(getattr(link, own) == row.id))
        for each in ids:
            db.add(link(**{own: row.id, other: each}))
    await db.flush()
    await rules.after(db, row)
    await db.flush()
    db.tell("catalog", table.__name__)
    return Id(row.id)


async def _check_free(db: CentralSession, table: type[Any], row: Any) -> None:
    column = "code_key" if table is Discount else "slug"
    # Without autoflush's help: the row itself may be changed and unwritten.
    same = sa.select(table.id).where(getattr(table, column) == getattr(row, column), table.id != row.id)
    if await db.first(same) is not None:
        raise _taken(table)


def _taken(table: type[Any]) -> errors.Taken:
    if table is Discount:
        return errors.Taken("Another discount has this code.", *checks.path("code"))
    return errors.Taken("Another one of this kind, perhaps archived, has this slug.", *checks.path("slug"))
