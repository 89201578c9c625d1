# mypy: ignore-errors
# Proven where it is put: tests/proofs/test_sample_area.py copies it into a house of its own.
"""The demo's colours, and a notebook with a note for each tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from db.session import PoolSession, SystemSession
from db.tables.central.notes import NoteColour
from db.tables.pool.notes import Note, Notebook

if TYPE_CHECKING:
    from cli.demo.frame import Demo, Studio
    from tenancy.context import Context

AFTER = ("identity",)
COLOURS = {"yellow": "ffee00", "blue": "3366ff"}


async def fill(demo: Demo) -> None:
    """Colours once, then a notebook a tenant."""
    demo.added["note colours"] += await demo.house.system().on_system(_colours)

    async def one(studio: Studio, ctx: Context) -> int:
        return await ctx.on_pool(_notes, studio.user_id)

    await demo.over_studios("notes", one)


async def _colours(db: SystemSession, /) -> int:
    return sum([await db.insert_once(NoteColour(name=name, hex=digits)) for name, digits in COLOURS.items()])


async def _notes(db: PoolSession, user_id: int, /) -> int:
    book = Notebook(title="Ideas")
    if not await db.insert_once(book):
        return 0
    db.add(Note(user_id=user_id, notebook_id=book.id, text="Film the harbour at night."))
    return await db.first(sa.select(sa.func.count(Note.id))) or 0
