"""The type of a file from its first bytes; what its sender calls it counts for nothing.

Containers only: whether the media inside plays is for outside/probe.py. Unknown is None, never a guess.
"""

HEAD_BYTES = 64 * 1024

_ISO_BRANDS = {
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"3g2a": "video/3gpp2",
    b"3g2b": "video/3gpp2",
    b"3g2c": "video/3gpp2",
} | dict.fromkeys((b"3gp4", b"3gp5", b"3gp6", b"3gp7", b"3gr6", b"3gs7", b"3ge6"), "video/3gpp")
_MP4_BRANDS = frozenset(
    b"isom iso2 iso3 iso4 iso5 iso6 iso7 iso8 iso9 mp41 mp42 mp71 avc1 av01 hvc1 dash cmfc mmp4 MSNV XAVC".split()
) | {b"M4V ", b"M4VH", b"M4VP", b"f4v "}
# Films older than `ftyp` start with one of these boxes.
_QUICKTIME_BOXES = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
_RIFF = {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_EBML_TYPES = {b"webm": "video/webm", b"matroska": "video/x-matroska"}
_MP3_KBITS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_FTYP_BYTES_MAX = 1024

TYPES = frozenset(
    {*_ISO_BRANDS.values(), *_RIFF.values(), *_EBML_TYPES.values()}
    | {"video/mp4", "image/gif", "image/png", "image/jpeg", "image/webp"}
    | {"audio/mpeg", "audio/flac", "audio/ogg", "video/ogg"}
)

_ALIASES = {
    "audio/mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "image/jpg": "image/jpeg",
    "video/avi": "video/x-msvideo",
    "video/matroska": "video/x-matroska",
    "video/x-m4v": "video/mp4",
    "application/ogg": "audio/ogg",
}
# One container with many names: phones, browsers and editors disagree on which, and the bytes read the same.
_ISO_FAMILY = frozenset(("video/mp4", "video/quicktime", "video/3gpp", "video/3gpp2", "audio/mp4"))
_OGG_FAMILY = frozenset(("audio/ogg", "video/ogg"))


def sniff(head: bytes) -> str | None:
    """MIME type of a file that begins with `head` (up to 64 KiB help), or None."""
    for look in (_image, _iso, _ebml, _riff, _sound):
        if found := look(head):
            return found
    return None


def agrees(declared: str, found: str) -> bool:
    """Whether a file declared as one type may turn out as the other: equal, an alias, or the same container."""
    known = _ALIASES.get(declared, declared)
    return known == found or any({known, found} <= family for family in (_ISO_FAMILY, _OGG_FAMILY))


def _image(head: bytes) -> str | None:
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR":
        return "image/png"
    if head[:6] in (b"GIF87a", b"GIF89a") and len(head) >= 13:
        return "image/gif"
    # Start of image, then a marker that may follow it: a table, an application block or a frame.
    if head[:3] == b"\xff\xd8\xff" and len(head) > 3 and 0xC0 <= head[3] <= 0xFE:
        return "image/jpeg"
    return None


def _iso(head: bytes) -> str | None:
    size, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if kind == b"ftyp":
        if not 16 <= size <= _FTYP_BYTES_MAX or size % 4 or len(head) < 16:
            return None
        # The major brand first, then what the file says it is compatible with; bytes 12–16 are a version.
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)), 4))]
        for brand in brands:
            if brand in _ISO_BRANDS:
                return _ISO_BRANDS[brand]
            if brand in _MP4_BRANDS:
                return "video/mp4"
        return None
    # Without `ftyp` one box name alone is four letters of any text: the next box must be one, too.
    if kind in _QUICKTIME_BOXES and size >= 8 and head[size + 4 : size + 8] in _QUICKTIME_BOXES:
        return "video/quicktime"
    return None


def _ebml(head: bytes) -> str | None:
    if head[:4] != b"\x1a\x45\xdf\xa3":
        return None
    length, at = _vint(head, 4)
    end = min(at + length, len(head), 128)
    while at + 2 <= end:
        id_bytes = 1 if head[at] & 0x80 else 2
        element = head[at : at + id_bytes]
        size, at = _vint(head, at + id_bytes)
        if element == b"\x42\x82":
            return _EBML_TYPES.get(head[at : min(at + size, end)].rstrip(b"\0"))
        at += size
    return None


def _vint(head: bytes, at: int) -> tuple[int, int]:
    """An EBML length at `at`, and where it ends."""
    first = head[at] if at < len(head) else 0
    width = 9 - first.bit_length() if first else 8
    raw = head[at : at + width]
    return int.from_bytes(raw, "big") & ((1 << 7 * width) - 1), at + width


def _riff(head: bytes) -> str | None:
    if head[:4] != b"RIFF":
        return None
    if head[8:12] == b"WEBP":
        return "image/webp" if head[12:16] in (b"VP8 ", b"VP8L", b"VP8X") else None
    return _RIFF.get(head[8:12])


def _sound(head: bytes) -> str | None:
    if head[:4] == b"fLaC":
        return "audio/flac"
    if head[:4] == b"OggS":
        if b"\x80theora" in head[:512]:
            return "video/ogg"
        return "audio/ogg" if any(mark in head[:512] for mark in (b"\x01vorbis", b"OpusHead", b"\x7fFLAC")) else None
    # ID3 version 2, whose four length bytes have no high bit.
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] in (2, 3, 4) and not any(b & 0x80 for b in head[6:10]):
        return "audio/mpeg"
    frame = _mp3_frame(head[:4])
    # A second frame where the first ends: two bytes alone are found in any random file.
    return "audio/mpeg" if frame and _mp3_frame(head[frame : frame + 4]) else None


def _mp3_frame(header: bytes) -> int:
    """Bytes of the layer III frame with this header, or 0."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate, hertz, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != 1 or rate in (0, 15) or hertz == 3:
        return 0
    newest = version == 3
    kbits = (_MP3_KBITS_V1 if newest else _MP3_KBITS_V2)[rate]
    return (144 if newest else 72) * kbits * 1000 // _MP3_HERTZ[version][hertz] + padding
