# mypy: ignore-errors
# Proven where it is put: tests/proofs/test_sample_area.py copies it into a house of its own.
"""Notebooks and notes: made here, read by declaration."""

from dataclasses import dataclass
from typing import ClassVar

import sqlalchemy as sa

from base import errors, texts
from base.ids import Id
from db.outbox import Envelope, Event, receives
from db.session import CentralSession, PoolSession
from db.tables.central.notes import NoteColour
from db.tables.pool.notes import Note, Notebook
from tenancy.context import Context


@dataclass(frozen=True, kw_only=True)
class NoteWritten(Event):
    """A note was written."""

    type: ClassVar[str] = "note.written"

    note_id: int

    @property
    def aggregate(self) -> str:
        """The note."""
        return f"note:{self.note_id:x}"


async def create_notebook(db: PoolSession, title: str, /) -> Id[Notebook]:
    """A new notebook. Raises Invalid, Taken."""
    book = Notebook(title=texts.line(title, "title"))
    if not await db.insert_once(book):
        raise errors.Taken("There is a notebook of this title.", "title")
    return book.id


async def write_note(
    ctx: Context, notebook_id: Id[Notebook], text: str, /, *, colour_id: Id[NoteColour] | None
) -> Id[Note]:
    """A new note of the caller.

    1 central: whether the colour is there; 2 pool: the row. A crash after 1 leaves nothing. Raises Invalid, NotFound.
    """
    line = texts.line(text, "input", "text", most=1000)
    if colour_id is not None:
        await ctx.on_central(_check_colour, colour_id)
    return await ctx.on_pool(_write, notebook_id, line, colour_id=colour_id)


async def _check_colour(db: CentralSession, colour_id: Id[NoteColour], /) -> None:
    if await db.first(sa.select(NoteColour.id).where(NoteColour.id == colour_id)) is None:
        raise errors.NotFound("There is no NoteColour with this id.", "input", "colourId")


async def _write(
    db: PoolSession, notebook_id: Id[Notebook], text: str, /, *, colour_id: Id[NoteColour] | None
) -> Id[Note]:
    await db.get_one(Notebook, notebook_id, "input", "notebookId")
    note = Note(notebook_id=notebook_id, text=text, colour_id=colour_id)
    db.add(note)
    db.emit(NoteWritten(note_id=note.id))
    return note.id


@receives(NoteWritten)
async def nothing_follows(_ctx: Context, _event: NoteWritten, _envelope: Envelope) -> None:
    """Nobody needs to know yet. Idempotent."""
