"""The AI jobs of a tenant's videos. Who holds the lease on one is in central (`central/work.py`); this row decides."""

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from base.ids import Id
from db.columns import Line
from db.tables.central.catalog import Effect
from db.tables.central.identity import User
from db.tables.pool.media import File, Video
from db.zones import DELETE, NULL, USER_PRIVATE, PoolBase, WithChanges, pool_ref, soft_ref


class AiJobStatus(enum.Enum):
    """The last three are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class AiJob(WithChanges, PoolBase, scope=USER_PRIVATE, owner="user_id"):
    """An effect to be applied to a video; tokens are held until it ends. `progress` is 0.0 to 1.0.

    `idempotency_key` is the client's, one a user, or one of ours made from the id; never null.
    `params` has been checked against the effect's declared parameters.
    """

    __tablename__ = "ai_jobs"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "user_id", "idempotency_key"),
        sa.Index(None, "tenant_id", "user_id", "id"),
        sa.Index(None, "tenant_id", "user_id", "status", "id"),
        sa.Index(None, "tenant_id", "video_id", "id"),
        sa.Index(None, "tenant_id", "status", "finished_at"),
        sa.Index(None, "tenant_id", "input_file_id"),
        sa.Index(None, "tenant_id", "output_file_id"),
    )

    user_id: Mapped[Id[User]] = soft_ref("users", on_parent_delete=DELETE)
    video_id: Mapped[Id[Video] | None] = pool_ref("videos", on_parent_delete=NULL)
    effect_id: Mapped[Id[Effect] | None] = soft_ref("effects", on_parent_delete=NULL)
    status: Mapped[AiJobStatus] = mapped_column(default=AiJobStatus.QUEUED)
    progress: Mapped[float] = mapped_column(sa.Double(), default=0.0)
    tokens_reserved: Mapped[int] = mapped_column(default=0)
    tokens_consumed: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    error_message: Mapped[str | None] = mapped_column(Line(1000))
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    input_file_id: Mapped[Id[File] | None] = pool_ref("files", on_parent_delete=NULL)
    output_file_id: Mapped[Id[File] | None] = pool_ref("files", on_parent_delete=NULL)
    idempotency_key: Mapped[str] = mapped_column(Line(200))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
