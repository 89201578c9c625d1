# mypy: ignore-errors
# Proven where it is put: tests/proofs/test_sample_area.py copies it into a house of its own.
"""Notebooks of a tenant and the notes its members keep in them."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Line
from db.tables.central.identity import User
from db.tables.central.notes import NoteColour
from db.zones import DELETE, NULL, TENANT, USER_PRIVATE, PoolBase, pool_ref, soft_ref


class Notebook(PoolBase, scope=TENANT):
    """A notebook that all members of a tenant share."""

    __tablename__ = "notebooks"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "title"),)

    title: Mapped[str] = mapped_column(Line(200))


class Note(PoolBase, scope=USER_PRIVATE, owner="user_id"):
    """A note that only its writer reads."""

    __tablename__ = "notes"
    __table_args__ = (
        sa.Index(None, "tenant_id", "user_id", "id"),
        sa.Index(None, "tenant_id", "notebook_id", "id"),
    )

    user_id: Mapped[Id[User]] = soft_ref("users", on_parent_delete=DELETE)
    notebook_id: Mapped[Id[Notebook]] = pool_ref("notebooks", on_parent_delete=DELETE)
    colour_id: Mapped[Id[NoteColour] | None] = soft_ref("note_colours", on_parent_delete=NULL)
    text: Mapped[str] = mapped_column(Line(1000))
