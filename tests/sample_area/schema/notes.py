# mypy: ignore-errors
# Proven where it is put: tests/proofs/test_sample_area.py copies it into a house of its own.
"""Notes, the notebooks they stand in, and their colours."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from base.ids import GlobalId
from db.tables.central import notes as central
from db.tables.pool import notes as tables
from execution.access import member, public
from execution.declare import Connection, Doc, computed, extends, input, node, payload, to_many, to_one  # noqa: A004  (GraphQL's word)
from schema.identity import Tenant
from schema.payloads import UserError, UserErrors


@node(central.NoteColour, access=public)
class NoteColour:
    """What a note may look like."""

    name: Annotated[str, Doc("E.g. yellow.")]
    hex: Annotated[str, Doc("Six digits, e.g. ffee00.")]


@node(tables.Note, access=member)
class Note:
    """A note of the caller."""

    text: Annotated[str, Doc("What it says.")]
    colour: Annotated[NoteColour | None, to_one("colour_id"), Doc("Null where it has none.")]


@node(tables.Notebook, access=member)
class Notebook:
    """A notebook of the tenant, with the caller's notes in it."""

    title: Annotated[str, Doc("E.g. Ideas.")]
    notes: Annotated[Connection[Note], to_many("notebook_id"), Doc("The caller's, newest first.")]


def _notes_name(name: str | None) -> str:
    return f"Notes of {name or 'nobody'}"


@extends(Tenant)
class TenantNotes:
    """What notes add to an older area's type."""

    notes_name: Annotated[str, computed(_notes_name), Doc("What the notes of this tenant are called.")]


@input
class WriteNoteInput:
    """A new note."""

    notebook_id: Annotated[GlobalId, Doc("Where it stands.")]
    text: Annotated[str, Doc("1 to 1000 characters.")]
    colour_id: Annotated[GlobalId | None, Doc("What it looks like.")] = None


@payload
class NotebookPayload:
    """The notebook; null when refused."""

    notebook: Notebook | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])


@payload
class NotePayload:
    """The note; null when refused."""

    note: Note | None = None
    user_errors: UserErrors = field(default_factory=list[UserError])
