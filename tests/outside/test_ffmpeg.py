"""Rendering: real videos come out right, hostile ones not at all."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from outside import confined, ffmpeg, filters, graphs, probe, renders
from outside.builtin_effects import BUILTIN_EFFECTS
from outside.confined import Limits, MediaError
from outside.graphs import Picture
from outside.renders import Effect, Export, Thumbnail
from tests.outside.hostile import CANARY, HOSTILE, huge_png, small_png
from tests.outside.test_confined import living_in

PLAIN = Effect([])
KINDS: dict[str, renders.Work] = {
    "effect": PLAIN,
    "mp4": Export("MP4"),
    "webm": Export("WEBM"),
    "gif": Export("GIF"),
    "still": Thumbnail(),
}


@pytest.fixture
def job(tmp_path, ffmpeg_path, video) -> ffmpeg.Render:
    folder = tmp_path / "job"
    folder.mkdir()
    return ffmpeg.Render(ffmpeg=ffmpeg_path, source=video, folder=folder, work=PLAIN)


def hostile_file(name: str, tmp_path: Path, *, video: Path) -> Path:
    """The hostile file beside a real video that it names, as an upload would be stored."""
    other = tmp_path / "neighbour.mp4"
    other.write_bytes(video.read_bytes())
    path = tmp_path / "upload.mp4"
    path.write_bytes(HOSTILE[name](other))
    return path


def remuxed(video: Path, target: Path, ffmpeg_path: Path, *options: str, before: tuple[str, ...] = ()) -> Path:
    command = [str(ffmpeg_path), "-v", "error", *before, "-i", str(video), *options, "-y", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target


async def test_a_probe_tells_what_the_file_is(video):
    probed = await probe.probe(video)
    assert (probed.container, probed.width, probed.height, probed.video_codec) == ("mp4", 320, 180, "h264")
    assert probed.has_audio
    assert probed.duration_seconds == pytest.approx(2.0, abs=0.05)


async def test_a_turned_video_is_measured_as_it_is_shown(tmp_path, ffmpeg_path, video):
    turned = remuxed(video, tmp_path / "turned.mp4", ffmpeg_path, "-c", "copy", before=("-display_rotation", "90"))
    probed = await probe.probe(turned)
    assert (probed.width, probed.height) == (180, 320)


@pytest.mark.parametrize(
    ("kind", "mime_type", "codec"),
    [("effect", "video/mp4", "h264"), ("mp4", "video/mp4", "h264"), ("webm", "video/webm", "vp9")],
)
async def test_films_come_out_whole_with_their_sound(job, kind, mime_type, codec):
    done = await ffmpeg.run(replace(job, work=KINDS[kind]))
    made = await probe.probe(done.path)
    assert (done.mime_type, made.video_codec, made.has_audio) == (mime_type, codec, True)
    assert (made.width, made.height) == (320, 180)
    assert made.duration_seconds == pytest.approx(2.0, abs=0.1)
    assert done.size_bytes == done.path.stat().st_size


async def test_a_gif_comes_out_in_the_width_that_was_asked(job):
    done = await ffmpeg.run(replace(job, work=Export("GIF", width=160)))
    assert (done.mime_type, done.width, done.height) == ("image/gif", 160, 90)
    assert done.path.read_bytes()[:6] == b"GIF89a"


async def test_an_export_with_both_sides_fits_between_them(job):
    done = await ffmpeg.run(replace(job, work=Export("MP4", width=200, height=50)))
    assert (done.width, done.height) == (88, 50)


@pytest.mark.parametrize(("form", "head"), [("JPEG", b"\xff\xd8\xff"), ("PNG", b"\x89PNG")])
async def test_a_thumbnail_is_a_picture_of_the_file(job, form, head):
    done = await ffmpeg.run(replace(job, work=Thumbnail(form)))
    assert done.path.read_bytes().startswith(head)
    assert (done.width, done.height) == (320, 180)


@pytest.mark.parametrize("container", ["mkv", "webm", "mov", "gif"])
async def test_other_containers_are_read_too(job, tmp_path, ffmpeg_path, video, container):
    codec = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"] if container == "webm" else []
    source = remuxed(video, tmp_path / f"x.{container}", ffmpeg_path, *codec)
    done = await ffmpeg.run(replace(job, source=source))
    assert done.duration_seconds == pytest.approx(2.0, abs=0.15)


async def test_a_video_whose_index_stands_last_is_read(job, tmp_path, ffmpeg_path, video):
    source = remuxed(video, tmp_path / "last.mp4", ffmpeg_path, "-c", "copy", "-movflags", "0")
    assert source.read_bytes().index(b"moov") > source.read_bytes().index(b"mdat")
    assert (await ffmpeg.run(replace(job, source=source))).duration_seconds == pytest.approx(2.0, abs=0.1)


async def test_progress_rises_to_the_end(job):
    heard: list[float] = []

    async def listen(share: float) -> None:
        heard.append(share)

    await ffmpeg.run(job, on_progress=listen)
    assert heard == sorted(set(heard))
    assert 0.9 <= heard[-1] <= 1


async def test_the_same_job_gives_the_same_bytes(job, tmp_path):
    hashes = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        done = await ffmpeg.run(replace(job, folder=tmp_path / name))
        hashes.add(hashlib.sha256(done.path.read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize("effect", BUILTIN_EFFECTS, ids=lambda effect: effect.slug)
async def test_every_builtin_effect_renders_with_its_defaults(job, short_video, effect):
    spec, parameters = list(effect.graph), graphs.parse_parameters(list(effect.parameters))
    done = await ffmpeg.run(replace(job, source=short_video, work=Effect(spec, parameters)))
    assert done.size_bytes > 1_000


@pytest.mark.parametrize("at", [0, -1])
@pytest.mark.parametrize("name", filters.FILTERS)
async def test_every_listed_filter_runs_at_both_ends_of_its_options(job, short_video, name, at):
    options: dict[str, object] = {}
    for key, option in filters.FILTERS[name].options.items():
        if isinstance(option, filters.Number):
            options[key] = (option.low, min(option.high, 640) if name == "scale" else option.high)[at]
        elif isinstance(option, filters.Choice):
            options[key] = list(option.words)[at]
        else:
            options[key] = "#ff8800" if isinstance(option, filters.Colour) else "words"
    await ffmpeg.run(replace(job, source=short_video, work=Effect([{"filter": name, "options": options}])))


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_upload_is_refused_before_ffmpeg(job, tmp_path, video, name):
    with pytest.raises(MediaError):
        await ffmpeg.run(replace(job, source=hostile_file(name, tmp_path, video=video)))
    assert list(job.folder.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HOSTILE)
async def test_ffmpeg_itself_reads_nothing_through_a_hostile_upload(job, tmp_path, video, kind, name):
    """The second wall alone: the probe is told a lie, ffmpeg's own arguments must refuse."""
    recipe = renders.recipe(KINDS[kind], await probe.probe(video))
    command = ffmpeg._command(job, recipe=recipe, pictures=[])
    with hostile_file(name, tmp_path, video=video).open("rb") as stdin:
        ended = await confined.run(command, stdin=stdin.fileno(), folder=job.folder, limits=Limits())
    made = job.folder / recipe.name
    assert ended.code != 0
    assert not made.exists() or made.stat().st_size == 0


@pytest.mark.parametrize("container", ["mp4", "mkv", "webm", "gif"])
@pytest.mark.parametrize("kind", ["effect", "mp4", "webm", "gif"])
async def test_a_truncated_video_is_never_rendered_as_a_shorter_one(job, tmp_path, ffmpeg_path, video, container, kind):
    codec = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"] if container == "webm" else []
    options = ["-movflags", "+faststart"] if container == "mp4" else codec
    whole = remuxed(video, tmp_path / f"whole.{container}", ffmpeg_path, *options).read_bytes()
    source = tmp_path / "half.mp4"
    source.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(MediaError, match="not complete"):
        await ffmpeg.run(replace(job, source=source, work=KINDS[kind]))


async def test_a_picture_is_laid_over_the_video(job, tmp_path):
    picture = tmp_path / "mark.png"
    picture.write_bytes(small_png())
    plain = await ffmpeg.run(job)
    folder = tmp_path / "with"
    folder.mkdir()
    work = Effect([], pictures=[Picture(picture, "fill", opacity=0.5), Picture(picture, "top-left", opacity=1)])
    marked = await ffmpeg.run(replace(job, folder=folder, work=work))
    assert marked.path.read_bytes() != plain.path.read_bytes()
    assert (marked.width, marked.height) == (320, 180)
    assert marked.duration_seconds == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    "content", [huge_png(), CANARY, b"<svg/>", small_png()[:40]], ids=["huge", "text", "svg", "cut"]
)
async def test_a_hostile_picture_is_refused(job, tmp_path, content):
    picture = tmp_path / "mark.png"
    picture.write_bytes(content)
    with pytest.raises(MediaError):
        await ffmpeg.run(replace(job, work=Effect([], pictures=[Picture(picture)])))


async def test_too_long_a_video_is_refused(job):
    with pytest.raises(MediaError, match="longer than 1 seconds"):
        await ffmpeg.run(replace(job, seconds_max=1.0))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(file_bytes=8_000), "too large"),
        (Limits(memory_bytes=150 * 1024**2), "memory"),
        (Limits(wall_seconds=0.05), "took longer"),
    ],
)
async def test_a_limit_is_told_in_words(job, limits, said):
    with pytest.raises(MediaError, match=said):
        await ffmpeg.run(replace(job, limits=limits))
    assert living_in(job.folder) == []


async def test_a_cancelled_render_leaves_no_ffmpeg(job):
    begun = asyncio.Event()

    async def listen(share: float) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(ffmpeg.run(job, on_progress=listen))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert living_in(job.folder) == []


async def test_a_folder_that_is_in_use_is_not_taken(job):
    (job.folder / "other").write_bytes(CANARY)
    with pytest.raises(ValueError, match="is not empty"):
        await ffmpeg.run(job)
    assert (job.folder / "other").read_bytes() == CANARY


@pytest.mark.parametrize(
    ("answer", "said"),
    [("Input:\n  file\n  pipe\nOutput:\n  fd\n", "no fd protocol"), (None, "cannot be run")],
)
def test_an_ffmpeg_without_fd_is_refused_and_never_replaced_by_file(tmp_path, answer, said):
    program = tmp_path / "ffmpeg"
    if answer is not None:
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}END\n")
        program.chmod(0o755)
    with pytest.raises(ffmpeg.FfmpegUnusable, match=said):
        ffmpeg.find_ffmpeg(str(program))
