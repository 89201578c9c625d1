"""Types from bytes: real files of every kind that ffmpeg writes, and texts that only call themselves media."""

import subprocess

import imageio_ffmpeg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outside import sniff

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=0.5")
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:duration=0.5")
VIDEO = (*PICTURE, "-pix_fmt", "yuv420p")
FILES = {
    "a.mp4": ("video/mp4", *VIDEO),
    "fragmented.mp4": ("video/mp4", *VIDEO, "-movflags", "frag_keyframe+empty_moov"),
    "a.m4v": ("video/mp4", *VIDEO, "-c:v", "libx264"),
    "a.mov": ("video/quicktime", *VIDEO),
    "a.3gp": ("video/3gpp", *VIDEO, "-c:v", "libx264"),
    "a.webm": ("video/webm", *VIDEO, "-c:v", "libvpx", "-deadline", "realtime"),
    "a.mkv": ("video/x-matroska", *VIDEO),
    "a.avi": ("video/x-msvideo", *VIDEO),
    "a.gif": ("image/gif", *PICTURE),
    "a.png": ("image/png", *PICTURE, "-frames:v", "1"),
    "a.jpg": ("image/jpeg", *PICTURE, "-frames:v", "1"),
    "a.webp": ("image/webp", *PICTURE, "-frames:v", "1"),
    "a.mp3": ("audio/mpeg", *TONE),
    "bare.mp3": ("audio/mpeg", *TONE, "-id3v2_version", "0", "-write_xing", "0"),
    "low.mp3": ("audio/mpeg", *TONE, "-id3v2_version", "0", "-ar", "22050"),
    "a.m4a": ("audio/mp4", *TONE),
    "a.wav": ("audio/wav", *TONE),
    "a.flac": ("audio/flac", *TONE),
    "a.ogg": ("audio/ogg", *TONE, "-c:a", "libvorbis"),
    "a.opus": ("audio/ogg", *TONE, "-c:a", "libopus"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_is_known_by_its_bytes(name, tmp_path):
    expected, *options = FILES[name]
    path = tmp_path / name
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *options, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    head = path.read_bytes()[: sniff.HEAD_BYTES]
    assert sniff.sniff(head) == expected
    assert expected in sniff.TYPES


TEXTS = {
    "nothing": b"",
    "text": b"just a text renamed .mp4\n" * 100,
    "html": b"<!DOCTYPE html><script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
    "ffconcat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "pdf": b"%PDF-1.7\n",
    "zip": b"PK\x03\x04" + bytes(100),
    "program": b"\x7fELF" + bytes(100),
    "zeros": bytes(4096),
    "a box called ftyp of no brand we know": b"\0\0\0\x18ftypevil\0\0\0\0evil2222",
    "a box called ftyp of a huge size": b"\xff\xff\xff\xffftypisom\0\0\0\0isom",
    "the word moov in a text": b"The moov of a film is its table of contents, mdat its media.",
    "a RIFF of something else": b"RIFF\0\0\0\0RMIDdata",
    "an EBML of something else": b"\x1a\x45\xdf\xa3\x88\x42\x82\x85other",
    "an Ogg of something else": b"OggS" + bytes(200),
    "two bytes that look like MP3": b"\xff\xfb\x90\x00" + b"x" * 1000,
    "UTF-16": "\ufeffhello".encode("utf-16"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_media_is_nothing(name):
    assert sniff.sniff(TEXTS[name]) is None


def test_a_film_older_than_ftyp_is_known_by_two_boxes():
    assert sniff.sniff(b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(100)) == "video/quicktime"
    assert sniff.sniff(b"\0\0\0\x08wide\0\0\x10\0text" + bytes(100)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_told_or_not_without_an_error(head):
    assert sniff.sniff(head) in {None, *sniff.TYPES}


@pytest.mark.parametrize("magic", [t[:40] for t in TEXTS.values() if t])
@given(st.binary(max_size=60))
def test_bytes_after_a_known_start_are_told_or_not_without_an_error(magic, rest):
    assert sniff.sniff(magic + rest) in {None, *sniff.TYPES}


@given(
    st.sampled_from(
        [b"\x1a\x45\xdf\xa3", b"\0\0\0\x18ftyp", b"OggS", b"RIFF", b"ID3", b"\xff\xfb", b"\x89PNG\r\n\x1a\n"]
    ),
    st.binary(max_size=200),
)
def test_a_truncated_or_broken_head_raises_nothing(magic, rest):
    assert sniff.sniff(magic + rest) in {None, *sniff.TYPES}


@pytest.mark.parametrize(
    ("declared", "found", "fits"),
    [
        ("video/mp4", "video/mp4", True),
        ("video/mp4", "video/quicktime", True),
        ("video/x-m4v", "video/mp4", True),
        ("audio/x-wav", "audio/wav", True),
        ("audio/mp3", "audio/mpeg", True),
        ("video/ogg", "audio/ogg", True),
        ("video/mp4", "video/webm", False),
        ("video/webm", "video/x-matroska", False),
        ("image/png", "image/jpeg", False),
        ("text/html", "image/gif", False),
    ],
)
def test_a_declared_type_agrees_with_its_own_container_alone(declared, found, fits):
    assert sniff.agrees(declared, found) is fits
