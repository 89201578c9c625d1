"""What the tests of outside/ share: the ffmpeg that ships with the worker, one real video."""

from __future__ import annotations

from pathlib import Path

import pytest

from outside import ffmpeg, samples


@pytest.fixture(scope="session")
def ffmpeg_path() -> Path:
    return ffmpeg.find_ffmpeg(None)


@pytest.fixture(scope="session")
async def video(anyio_backend, ffmpeg_path, tmp_path_factory) -> Path:
    """Two seconds, 320×180, with sound."""
    path = tmp_path_factory.mktemp("video") / "real.mp4"
    await samples.make_sample(path, ffmpeg=ffmpeg_path)
    return path


@pytest.fixture(scope="session")
async def short_video(anyio_backend, ffmpeg_path, tmp_path_factory) -> Path:
    """The same for half a second, where a dozen pictures say what fifty would."""
    path = tmp_path_factory.mktemp("video") / "short.mp4"
    await samples.make_sample(path, ffmpeg=ffmpeg_path, seconds=0.5)
    return path
