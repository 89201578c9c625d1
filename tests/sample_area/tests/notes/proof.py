# mypy: ignore-errors
# Proven where it is put: tests/proofs/test_sample_area.py copies it into a house of its own.
"""What a new area gets by declaring its tables: guard, isolation, doctor. Run in the copy, on real databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from base.ids import Id
from db.guard import GuardError, Permit
from db.tables.central.notes import NoteColour
from db.tables.pool.notes import Note, Notebook
from execution import library
from resolvers import roots
from tenancy import checks, references

pytestmark = pytest.mark.anyio

BOOK = "mutation ($title: String!) { createNotebook(title: $title) { notebook { id } userErrors { code field } } }"
WRITE = """mutation ($input: WriteNoteInput!) {
  writeNote(input: $input) { note { id text colour { name } } userErrors { code field } } }"""
READ = "query ($id: ID!) { note(id: $id) { text } node(id: $id) { id } }"
LIST = "{ notebooks(first: 10) { nodes { title notes(first: 10) { nodes { text colour { name } } } } } }"


async def ask(ctx, query, **variables):
    answer = await library.Executor(roots.served()).execute(ctx, query, variables=variables)
    assert answer.errors is None, answer.errors
    return answer.data


async def colour(db, /):
    db.add(NoteColour(id=Id(77), name="yellow", hex="ffee00"))


async def written(ctx, text):
    book = (await ask(ctx, BOOK, title=f"Book of {text}"))["createNotebook"]["notebook"]["id"]
    return book, (await ask(ctx, WRITE, input={"notebookId": book, "text": text, "colourId": "NoteColour_4d"}))[
        "writeNote"
    ]


async def test_a_note_is_its_writers_alone_by_whatever_id(world):
    await world.house.system().on_system(colour)
    # Of three tenants two share a pool: their notes lie in one table.
    alice, _, bob = [await world.tenant(name) for name in ("alice", "eve", "bob")]
    mary = await world.member(alice.tenant_id)
    ctx = await world.of(alice)
    book, note = await written(ctx, "CANARY")
    assert note == {
        "note": {"id": note["note"]["id"], "text": "CANARY", "colour": {"name": "yellow"}},
        "userErrors": [],
    }
    ours = note["note"]["id"]
    kind, _, key = ours.split("_")
    guessed = f"{kind}_{bob.tenant_id.encode().hex()}_{key}"
    for person in (bob, mary):
        other = await world.of(person)
        for id_ in (ours, guessed) if person is bob else (ours,):
            executor = library.Executor(roots.served())
            assert "CANARY" not in str(await executor.execute(other, READ, variables={"id": id_}))
        assert "CANARY" not in str(await ask(other, LIST)).replace("Book of CANARY", "")
    refused = (
        await library.Executor(roots.served()).execute(
            await world.of(bob), WRITE, variables={"input": {"notebookId": book, "text": "into another's"}}
        )
    ).data["writeNote"]
    assert refused["userErrors"] == [{"code": "NOT_FOUND", "field": ["input", "notebookId"]}]
    assert (await ask(ctx, READ, id=ours))["note"] == {"text": "CANARY"}
    # The notebook is the tenant's, the note in it the writer's.
    shared = (await ask(await world.of(mary), LIST))["notebooks"]["nodes"]
    assert shared == [{"title": "Book of CANARY", "notes": {"nodes": []}}]


async def test_the_guard_refuses_a_statement_that_names_no_tenant(world):
    alice = await world.tenant("alice")
    route = (await world.of(alice)).tenant_route
    pool = world.house.sessions.databases.pools[route.pool]
    for statement in (
        sa.select(Note.__table__),
        sa.update(Note.__table__).values(text="x"),
        sa.delete(Notebook.__table__),
    ):
        async with pool.engine.connect() as connection:
            await connection.execution_options(permit=Permit(tenant=alice.tenant_id, owner=alice.user_id))
            with pytest.raises(GuardError):
                await connection.execute(statement)


async def test_doctor_walks_its_references(world):
    assert references.of_rows_in_pools in checks.TENANT_CHECKS.values()
    alice = await world.tenant("alice")
    await world.house.system().on_system(colour)
    await written(await world.of(alice), "seen")
    assert [one for one in await checks.run(world.house) if any(finding.wrong for finding in one.findings)] == []

    async def bleach(db, /):
        await db.change(sa.delete(NoteColour).where(NoteColour.id == 77))

    await world.house.system().on_system(bleach)
    wrong = [finding.what for one in await checks.run(world.house) for finding in one.findings if finding.wrong]
    assert wrong == ["alice1: notes.colour_id names 1 rows of note_colours that are not there (4d)"]
