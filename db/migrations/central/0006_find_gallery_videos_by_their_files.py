"""Find gallery videos by their files."""

from alembic.operations import Operations

revision = "0006"
down_revision = "0005"

LOCK_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 600


def upgrade(op: Operations) -> None:
    """Find gallery videos by their files."""
    _gallery_videos(op)


def _gallery_videos(op: Operations) -> None:
    op.create_index(op.f("ix_gallery_videos_output_key"), "gallery_videos", ["output_key"], unique=False)
    op.create_index(op.f("ix_gallery_videos_thumbnail_key"), "gallery_videos", ["thumbnail_key"], unique=False)
