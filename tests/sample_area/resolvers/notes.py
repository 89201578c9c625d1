# mypy: ignore-errors
# Proven where it is put: tests/proofs/test_sample_area.py copies it into a house of its own.
"""Notebooks and notes, read and written."""

from __future__ import annotations

from typing import Annotated

from actions import notes as note_actions
from base.ids import GlobalId
from db.tables.central import notes as central
from db.tables.pool import notes as tables
from execution.access import member, public
from execution.declare import FIRST_DEFAULT, After, Connection, Doc, First, mutation, page, query, rows
from resolvers.payload import payload, row
from schema.notes import Note, Notebook, NotebookPayload, NoteColour, NotePayload, WriteNoteInput
from tenancy.context import Context


@query(public)
async def note_colours() -> list[NoteColour]:
    """All colours by name."""
    return rows(NoteColour, order=("name",))


@query(member, cost=5)
async def notebooks(first: First = FIRST_DEFAULT, after: After = None) -> Connection[Notebook]:
    """The tenant's notebooks, newest first."""
    return page(Notebook, first=first, after=after)


@query(member)
async def note(id: Annotated[GlobalId, Doc("The note's id.")]) -> Note | None:
    """One of the caller's notes."""
    return row(Note, id.of(tables.Note))


@mutation(member)
async def create_notebook(ctx: Context, title: Annotated[str, Doc("E.g. Ideas.")]) -> NotebookPayload:
    """Make a notebook."""
    return await payload(NotebookPayload, ctx.on_pool(note_actions.create_notebook, title))


@mutation(member)
async def write_note(ctx: Context, input: Annotated[WriteNoteInput, Doc("What it says.")]) -> NotePayload:
    """Write a note."""
    colour = None if input.colour_id is None else input.colour_id.of(central.NoteColour)
    doing = note_actions.write_note(ctx, input.notebook_id.of(tables.Notebook), input.text, colour_id=colour)
    return await payload(NotePayload, doing)
