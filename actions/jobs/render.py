"""Our own worker: fetches the input, runs ffmpeg under its limits, stores what came out, settles the tokens.

Effects of algorithms of kind HTTP are offered to their provider, which goes on through the
worker fields (`outside_workers.py`) with the lease alone.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from actions.jobs import folders, outside_workers, states
from actions.jobs.states import Begun, Result
from actions.jobs.submit import AI_JOB
from actions.media import files
from actions.media.files import Facts
from base import errors
from base.ids import Id
from db import work
from db.session import CentralSession, SystemSession
from db.tables.central.catalog import Algorithm, AlgorithmKind, Effect, Overlay, Watermark
from db.tables.pool.jobs import AiJob
from db.zones import TenantState
from outside import ffmpeg, graphs, job_http, renders
from outside.confined import MediaError
from outside.services import Ffmpeg, Providers
from outside.store import Missing, Store, StoreUnavailable
from tenancy.context import Context, House
from tenancy.handlers import Alive, LeaveLeased, PutOff, handles

PROGRESS_SECONDS_MIN = 1.0
PUT_OFF_SECONDS = 10
HASH_BYTES_A_READ = 1024 * 1024
OURS = (AlgorithmKind.FFMPEG, AlgorithmKind.HTTP)


class Lost(Exception):
    """The job is not this attempt's any more: canceled, finished elsewhere, or its lease ran out."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the catalog says of an effect: its graph, and pictures by key in the store."""

    slug: str
    kind: AlgorithmKind
    provider: str | None
    parameters: list[dict[str, object]]
    graph: list[dict[str, object]]
    pictures: tuple[tuple[str, graphs.Position, float, float], ...]


async def algorithms(house: House) -> Sequence[str]:
    """The slugs of the algorithms that this deployment's own workers carry out."""
    return await house.system().on_central(_algorithms)


async def _algorithms(db: CentralSession, /) -> Sequence[str]:
    return await db.all(sa.select(Algorithm.slug).where(Algorithm.kind.in_(OURS)))


async def gave_up(ctx: Context, lease: work.Lease, _why: str) -> None:
    """No attempt is left: the job is FAILED and its tokens are released. Idempotent."""
    # What broke is in the operator's log; it may name machines and paths.
    message = "The job could not be carried out. Nothing was charged; you may submit it again."
    await ctx.on_pool(states.fail, Id(lease.ref_id), attempt=lease.attempt, message=message, retry=False)


def told(error: MediaError | Missing | job_http.ProviderRefused) -> str:
    """What the user is told of it: keys of the store are not for their eyes."""
    if isinstance(error, Missing):
        return "The video's file is gone."
    return error.reason if isinstance(error, MediaError) else str(error)


@handles(AI_JOB, gave_up=gave_up, algorithms=algorithms, concurrent=1)
async def process(ctx: Context, lease: work.Lease, alive: Alive) -> None:
    """Carry out one AI job.

    1 pool: RUNNING; 2 the output is made and stored under a new key; 3 one pool transaction consumes the
    tokens and gives the video its output. A crash after 2 leaves an object without a row, which the sweep
    takes; after 3 nothing is left but to say that the work is done.
    """
    if ctx.tenant_route.state is TenantState.SUSPENDED:
        raise PutOff("the tenant is suspended", seconds=outside_workers.SUSPENDED_SECONDS)
    job_id: Id[AiJob] = Id(lease.ref_id)
    begun = await ctx.on_pool(states.begin, job_id, attempt=lease.attempt)
    if begun is None:
        return
    try:
        await _carry_out(ctx, lease, begun, alive)
    except StoreUnavailable as error:
        # As with a pool that is down: three failed attempts would be over before it is back.
        await ctx.on_pool(states.wait, job_id, attempt=lease.attempt)
        raise PutOff(str(error), seconds=PUT_OFF_SECONDS) from error
    except Lost:
        return
    except (MediaError, Missing, job_http.ProviderRefused) as error:
        await ctx.on_pool(states.fail, job_id, attempt=lease.attempt, message=told(error), retry=False)
    except (errors.Denial, LeaveLeased):
        raise
    except Exception:
        # Waiting for the next attempt; after the last one `gave_up` says so.
        await ctx.on_pool(states.wait, job_id, attempt=lease.attempt)
        raise


async def _carry_out(ctx: Context, lease: work.Lease, begun: Begun, alive: Alive, /) -> None:
    recipe = await ctx.on_system(_recipe, begun.effect_id)
    if recipe is None:
        raise MediaError("The effect is not offered any more.")
    if recipe.kind is AlgorithmKind.HTTP:
        await _hand_over(ctx, lease, begun, recipe)
        raise LeaveLeased
    with folders.folder() as place:
        made = await _make(ctx, begun, recipe, place, alive)
        if not await alive() or not await ctx.on_pool(
            states.complete, begun.ai_job_id, attempt=begun.attempt, result=made
        ):
            raise Lost


async def _hand_over(ctx: Context, lease: work.Lease, begun: Begun, recipe: Recipe, /) -> None:
    providers = ctx.house.service(Providers)
    provider = providers.named.get(recipe.provider or "")
    if provider is None:
        raise MediaError("No provider is set up for this effect.")
    claim = outside_workers.claim_of(ctx, lease, begun, effect_slug=recipe.slug, origin=providers.origin)
    await job_http.offer(provider, claim.as_json(), egress=providers.egress)


async def _make(ctx: Context, begun: Begun, recipe: Recipe, place: Path, alive: Alive, /) -> Result:
    store = ctx.house.service(Store)
    source, folder, still = place / "input", place / "work", place / "still"
    folder.mkdir()
    still.mkdir()
    await store.fetch_to(begun.input_key, source)
    pictures = []
    for number, (key, position, opacity, width) in enumerate(recipe.pictures):
        picture = place / f"picture{number}"
        await store.fetch_to(key, picture)
        pictures.append(graphs.Picture(picture, position, opacity, width))
    effect = renders.Effect(recipe.graph, graphs.parse_parameters(recipe.parameters), begun.params, pictures)
    path = ctx.house.service(Ffmpeg).path
    report = _reporter(ctx, begun, alive)
    rendered = await ffmpeg.run(ffmpeg.Render(path, source, folder, effect), on_progress=report)
    output = await stored(ctx, rendered.path, name=f"{recipe.slug}.mp4", mime_type=rendered.mime_type)
    thumbnail = await thumbnail_of(ctx, rendered.path, still)
    return Result(output=output, thumbnail=thumbnail, duration_seconds=rendered.duration_seconds)


async def thumbnail_of(ctx: Context, video: Path, folder: Path, /) -> Facts:
    """A still of a real file, stored."""
    path = ctx.house.service(Ffmpeg).path
    still = await ffmpeg.run(ffmpeg.Render(path, video, folder, renders.Thumbnail()))
    return await stored(ctx, still.path, name="thumbnail.jpg", mime_type=still.mime_type)


async def stored(ctx: Context, path: Path, /, *, name: str, mime_type: str) -> Facts:
    """Put a file we made into the store under a new key of this tenant."""
    key = files.new_key(ctx.tenant_id)
    digest, size = await asyncio.to_thread(_digest, path)
    await ctx.house.service(Store).put_file(key, path, mime_type=mime_type)
    return Facts(key=key, name=name, mime_type=mime_type, size_bytes=size, sha256=digest)


def _digest(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(HASH_BYTES_A_READ):
            digest.update(part)
            size += len(part)
    return digest.hexdigest(), size


def _reporter(ctx: Context, begun: Begun, alive: Alive) -> Callable[[float], Awaitable[None]]:
    told = 0.0

    async def report(done: float) -> None:
        nonlocal told
        if time.monotonic() - told < PROGRESS_SECONDS_MIN:
            return
        told = time.monotonic()
        going = await ctx.on_pool(states.progress, begun.ai_job_id, attempt=begun.attempt, done=done)
        if not going or not await alive():
            raise Lost

    return report


async def _recipe(db: SystemSession, effect_id: Id[Effect] | None, /) -> Recipe | None:
    found = await db.tuples(
        sa.select(Effect, Algorithm, Overlay, Watermark)
        .join(Algorithm, Algorithm.id == Effect.algorithm_id)
        .outerjoin(Overlay, Overlay.id == Effect.overlay_id)
        .outerjoin(Watermark, Watermark.id == Effect.watermark_id)
        .where(Effect.id == effect_id)
    )
    if not found:
        return None
    effect, algorithm, overlay, watermark = found[0]
    pictures: list[tuple[str, graphs.Position, float, float]] = []
    if overlay is not None and overlay.asset_key is not None:
        pictures.append((overlay.asset_key, "fill", 1.0, 1.0))
    if watermark is not None and watermark.asset_key is not None:
        pictures.append((watermark.asset_key, "bottom-right", 0.8, 0.2))
    return Recipe(
        slug=effect.slug,
        kind=algorithm.kind,
        provider=algorithm.provider,
        parameters=effect.parameters,
        graph=effect.graph,
        pictures=tuple(pictures),
    )
