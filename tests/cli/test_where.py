"""`atrium where` and `atrium schema`: any name leads to the file and line where it is declared."""

from __future__ import annotations

import pytest

from resolvers import roots
from tests.house import tree


@pytest.mark.parametrize(
    ("name", "file", "line"),
    [
        ("Effect.galleryVideos", "schema/gallery.py", "gallery_videos"),
        ("publishVideo", "resolvers/gallery.py", "publish_video"),
        ("Query.videos", "resolvers/media.py", "videos"),
        ("Video", "schema/media.py", "class Video"),
        ("videos.effect_id", "db/tables/pool/media.py", "effect_id"),
        ("TokenWallet.balance", "schema/wallet.py", "balance"),
        ("wallet.reserve", "actions/wallet.py", "def reserve"),
        ("video.published", "actions/gallery/publish.py", "class VideoPublished"),
        ("TENANT_SUSPENDED", "base/errors.py", "class TenantSuspended"),
        ("tenants create", "cli/tenants.py", "def create"),
    ],
)
def test_a_name_leads_to_its_declaration(atrium, name, file, line):
    told = atrium("where", name)
    assert told.code == 0, told.text
    places = [word for word in told.text.split() if word.startswith(f"{file}:")]
    assert places
    number = int(places[0].rpartition(":")[2])
    # A decorated function stands at its first decorator.
    text = (tree.ROOT / file).read_text(encoding="utf-8").splitlines()
    assert any(line in row for row in text[number - 1 : number + 3])


def test_capitals_do_not_matter_and_a_near_miss_is_helped(atrium):
    assert "schema/gallery.py" in atrium("where", "effect.galleryvideos").text
    told = atrium("where", "publishVido")
    assert (told.code, "publishVideo" in told.text) == (1, True)


def test_the_schema_is_printed_as_it_is_served(atrium):
    told = atrium("schema")
    assert told.code == 0
    assert told.text == " ".join(roots.sdl().split())
