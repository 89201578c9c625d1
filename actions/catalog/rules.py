"""What the values of a catalog row may be together, and what is derived from them when it is written."""

import json

import sqlalchemy as sa

from actions.catalog import checks
from base import errors, texts
from base.ids import Id
from db.session import CentralSession
from db.tables.central.catalog import (
    Algorithm,
    AlgorithmKind,
    Category,
    Discount,
    Effect,
    EffectTag,
    Tag,
    WithName,
)
from outside import graphs

NAME_KEY_CHARACTERS_MAX = 400
CODE_KEY_CHARACTERS_MAX = 160
# Of 4 bytes each they still fit the 64 KiB of a text on MySQL.
SEARCH_TEXT_CHARACTERS_MAX = 16_000
JSON_CHARACTERS_MAX = 20_000


async def settle(db: CentralSession, row: object, /) -> None:
    """Check a row as it would be written and fill what follows from its other values. Raises Invalid."""
    if isinstance(row, WithName):
        row.name_key = texts.fold(row.name)[:NAME_KEY_CHARACTERS_MAX]
    if isinstance(row, Discount):
        _discount(row)
    elif isinstance(row, Algorithm):
        _algorithm(row)
    elif isinstance(row, Effect):
        await _effect(db, row)


def _discount(row: Discount) -> None:
    if row.starts_at is not None and row.ends_at is not None and row.ends_at <= row.starts_at:
        raise errors.Invalid("A discount ends after it has begun.", *checks.path("ends_at"))
    row.code_key = f"#{row.id:x}" if row.code is None else texts.fold(row.code)[:CODE_KEY_CHARACTERS_MAX]


def _algorithm(row: Algorithm) -> None:
    if row.kind is AlgorithmKind.HTTP and row.provider is None:
        raise errors.Invalid("An algorithm of kind HTTP names its provider.", *checks.path("provider"))
    if row.kind is not AlgorithmKind.HTTP and row.provider is not None:
        raise errors.Invalid("Only an algorithm of kind HTTP has a provider.", *checks.path("provider"))


async def _effect(db: CentralSession, row: Effect) -> None:
    for name in ("parameters", "graph"):
        _check_storable(name, getattr(row, name))
    algorithm = await db.get(Algorithm, row.algorithm_id)
    try:
        parameters = graphs.parse_parameters(row.parameters)
        if algorithm is not None and algorithm.kind is AlgorithmKind.FFMPEG:
            graphs.check_graph(row.graph, parameters)
        elif row.graph != []:
            raise graphs.InvalidGraph("graph", "belongs to effects that our own ffmpeg carries out.")
    except graphs.InvalidGraph as refused:
        # graph[2].options.sigma → input, graph, 2, options, sigma
        place = refused.place.replace("[", ".").replace("]", "").split(".")
        raise errors.Invalid(str(refused), "input", *place) from None


def _check_storable(name: str, value: object) -> None:
    """JSON that every engine keeps: no NUL, no half of a character pair, no endless numbers, not too much of it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise errors.Invalid("This is no JSON of plain texts and numbers.", *checks.path(name)) from None
    if "\\u0000" in text or len(text) > JSON_CHARACTERS_MAX:
        raise errors.Invalid(f"This has NUL or more than {JSON_CHARACTERS_MAX:,} characters.", *checks.path(name))


async def after(db: CentralSession, row: object, /) -> None:
    """What other columns say of a row that has just been written: texts by which effects are found."""
    if isinstance(row, Effect):
        row.search_text = await _search_text(db, row)
    elif isinstance(row, Tag):
        tagged = sa.select(EffectTag.effect_id).where(EffectTag.tag_id == row.id)
        for effect in await db.all(sa.select(Effect).where(Effect.id.in_(tagged))):
            effect.search_text = await _search_text(db, effect)


async def _search_text(db: CentralSession, effect: Effect) -> str:
    tag_ids = sa.select(EffectTag.tag_id).where(EffectTag.effect_id == effect.id)
    names = await db.all(sa.select(Tag.name).where(Tag.id.in_(tag_ids)).order_by(Tag.name_key, Tag.id))
    # A line each, so that no word is found across two of them.
    said = (effect.name, effect.description or "", *names)
    return "\n".join(texts.fold(text) for text in said)[:SEARCH_TEXT_CHARACTERS_MAX]


async def check_leads(db: CentralSession, name: str, table: type[WithName], ids: list[Id[Category]], /) -> None:
    """That the rows are there and offered. Raises NotFound on the field."""
    found = set(await db.all(sa.select(table.id).where(table.id.in_(ids), table.archived_at.is_(None))))
    if found != set(ids):
        raise errors.NotFound(f"There is no {table.__name__} with this id.", *checks.path(name))
