# mypy: ignore-errors
# Proven where it is put: tests/proofs/test_sample_area.py copies it into a house of its own.
"""The colours that a note may have; everybody's."""

from sqlalchemy.orm import Mapped, mapped_column

from db.columns import Exact, Line
from db.zones import GLOBAL, CentralBase, WithId


class NoteColour(WithId, CentralBase, scope=GLOBAL):
    """A colour by its name; `hex` is six digits."""

    __tablename__ = "note_colours"

    name: Mapped[str] = mapped_column(Line(80), unique=True)
    hex: Mapped[str] = mapped_column(Exact(6))
