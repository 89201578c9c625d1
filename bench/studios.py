"""What one tenant has made: files, videos, jobs, a ledger, and its place in the gallery; drawn like `bench/rows.py`.

The rows hang together as the product's own do: doctor finds nothing wrong with them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from base import texts
from bench.rows import BEGAN, JOB_COST, SEED, WORDS, Ids, Owner, Rows, Sizes, words
from db.tables.central import gallery
from db.tables.pool import jobs, media, upkeep, wallet
from db.zones import TenantState

JOBS_A_TENANT = 10
WITHOUT_EFFECT_ONE_IN = 50
TOKENS_GIVEN = 10_000


class Studio:
    """One tenant's rows in its pool, and what it has published; videos of all tenants interleave in time."""

    def __init__(self, owner: Owner, sizes: Sizes, *, number: int, effects: list[int]) -> None:
        self.owner, self.sizes, self._effects = owner, sizes, effects
        self._drawn, self._ids = random.Random(SEED * 1_000_003 + number), Ids()
        self._number = number
        self.files: list[dict[str, Any]] = []
        self.videos: list[dict[str, Any]] = []
        self.exhibits: list[dict[str, Any]] = []
        self.tags: list[dict[str, Any]] = []
        for place in range(sizes.published + sizes.unfinished):
            self._video(place, published=place < sizes.published)
        self.jobs = [self._job(video) for video in self.videos[-JOBS_A_TENANT:]]

    def central(self) -> Iterator[Rows]:
        """Its place in the gallery."""
        yield gallery.GalleryVideo, self.exhibits
        yield gallery.GalleryVideoTag, self.tags

    def pool(self) -> Iterator[Rows]:
        """Its rows in its pool, parents first."""
        now = self.videos[-1]["created_at"] if self.videos else BEGAN
        yield (
            upkeep.Fence,
            [
                {
                    "tenant_id": self.owner.tenant,
                    "id": 0,
                    "created_at": BEGAN,
                    "pool_name": self.owner.pool,
                    "epoch": 1,
                    "state": TenantState.ACTIVE,
                }
            ],
        )
        yield media.File, self.files
        yield media.Video, self.videos
        yield jobs.AiJob, self.jobs
        yield from self._ledger(now)

    def _own(self, moment: datetime) -> dict[str, Any]:
        return {"tenant_id": self.owner.tenant, "id": self._ids.at(moment), "created_at": moment}

    def _file(self, moment: datetime, name: str) -> int:
        own = self._own(moment)
        self.files.append(
            {
                **own,
                "user_id": self.owner.user_id,
                "name": name,
                "mime_type": "video/mp4",
                "size_bytes": self._drawn.randrange(10_000, 3_000_000_000),
                "sha256": None,
                "status": media.FileStatus.READY,
                "key": f"{self.owner.tenant}/{own['id']:x}.mp4",
                "expires_at": None,
                "deleted_at": None,
            }
        )
        return int(own["id"])

    def _video(self, place: int, *, published: bool) -> None:
        # Each video has a millisecond of its own, so that the gallery's ids, which come from here, are unique.
        moment = BEGAN + timedelta(days=2, hours=place * 12, milliseconds=self._number * 40, microseconds=place)
        title, tags = words(self._drawn, 3).capitalize(), self._drawn.sample(WORDS, 2)
        has_effect = self._drawn.randrange(WITHOUT_EFFECT_ONE_IN) > 0
        given = self._file(moment, f"{title}.mp4")
        made = self._file(moment, f"{title} (made).mp4") if published else None
        own = self._own(moment)
        exhibit = self._own(moment) if published else None
        states = (media.VideoStatus.DRAFT, media.VideoStatus.FAILED)
        video = {
            **own,
            "updated_at": moment,
            "user_id": self.owner.user_id,
            "title": title,
            "title_key": texts.fold(title),
            "search_text": texts.fold(" ".join([title, *tags])),
            "tags": tags,
            "status": media.VideoStatus.READY if published else states[place % 2],
            "effect_id": self._drawn.choice(self._effects) if has_effect else None,
            "input_file_id": given,
            "output_file_id": made,
            "thumbnail_file_id": None,
            "duration_seconds": 12.4 if published else None,
            "gallery_video_id": None if exhibit is None else exhibit["id"],
            "deleted_at": None,
        }
        self.videos.append(video)
        if exhibit is not None:
            self._publish(exhibit, video)

    def _publish(self, exhibit: dict[str, Any], video: dict[str, Any]) -> None:
        key = hashlib.blake2b(str(exhibit["id"]).encode(), digest_size=16).hexdigest()
        same = {name: video[name] for name in ("title", "tags", "effect_id", "duration_seconds", "search_text")}
        self.exhibits.append(
            {
                **exhibit,
                **same,
                "output_key": f"public/{key}.mp4",
                "thumbnail_key": None,
                "published_at": video["created_at"],
                "view_count": self._drawn.randrange(100_000),
                "visible": True,
                "suspended": False,
                "listed": True,
                "event_id": exhibit["id"],
            }
        )
        keys = dict.fromkeys(texts.fold(tag) for tag in video["tags"])
        self.tags += [
            {"tag_key": tag, "gallery_video_id": exhibit["id"], "tenant_id": self.owner.tenant} for tag in keys
        ]

    def _job(self, video: dict[str, Any]) -> dict[str, Any]:
        moment = video["created_at"] + timedelta(minutes=5)
        done = video["output_file_id"] is not None
        own = self._own(moment)
        return {
            **own,
            "updated_at": moment,
            "user_id": self.owner.user_id,
            "video_id": video["id"],
            "effect_id": video["effect_id"],
            "status": jobs.AiJobStatus.SUCCEEDED if done else jobs.AiJobStatus.FAILED,
            "progress": 1.0 if done else 0.25,
            "tokens_reserved": 0,
            "tokens_consumed": JOB_COST if done else 0,
            "attempts": 1,
            "error_message": None if done else "The file ends too early.",
            "params": {},
            "input_file_id": video["input_file_id"],
            "output_file_id": video["output_file_id"],
            "idempotency_key": f"#{own['id']:x}",
            "started_at": moment,
            "finished_at": moment + timedelta(minutes=1),
        }

    def _ledger(self, now: datetime) -> Iterator[Rows]:
        kinds = wallet.TokenTransactionKind
        changes: list[tuple[wallet.TokenTransactionKind, int, int, int | None]] = [
            (kinds.ADJUSTMENT, TOKENS_GIVEN, 0, None)
        ]
        for job in self.jobs:
            done = job["tokens_consumed"] > 0
            changes.append((kinds.RESERVE, -JOB_COST, JOB_COST, job["id"]))
            changes.append((kinds.CONSUME if done else kinds.RELEASE, 0 if done else JOB_COST, -JOB_COST, job["id"]))
        entries: list[dict[str, Any]] = []
        balance = reserved = 0
        for sequence, (kind, amount, held, job_id) in enumerate(changes, 1):
            balance, reserved = balance + amount, reserved + held
            entries.append(
                {
                    **self._own(now),
                    "user_id": self.owner.user_id,
                    "kind": kind,
                    "amount": amount,
                    "reserved_change": held,
                    "debt_change": 0,
                    "balance_after": balance,
                    "reserved_after": reserved,
                    "debt_after": 0,
                    "ai_job_id": job_id,
                    "note": None,
                    "sequence": sequence,
                    "idempotency_key": f"bench:{sequence}",
                }
            )
        purse = {"updated_at": now, "balance": balance, "reserved": reserved, "debt": 0, "sequence": len(entries)}
        yield wallet.TokenWallet, [{**self._own(BEGAN), **purse}]
        yield wallet.TokenTransaction, entries
