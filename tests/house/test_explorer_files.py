"""The explorer's committed files agree with each other and with what is said of them.

Whether the page works is asked of a real browser, in tests/http/test_explorer.py; whether its starter
operations are valid, in tests/schema/test_starters.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
DIST = WEB / "dist"
DIST_BYTES_MAX = 5 * 1024 * 1024


def test_the_asset_list_names_every_file_with_its_bytes() -> None:
    assets = json.loads((DIST / "assets.json").read_text())["assets"]
    assert {asset["path"] for asset in assets} == {p.name for p in DIST.iterdir()} - {"index.html", "assets.json"}
    for asset in assets:
        content = (DIST / asset["path"]).read_bytes()
        assert len(content) == asset["sizeBytes"], asset["path"]
        assert hashlib.sha256(content).hexdigest() == asset["sha256"], asset["path"]


def test_every_asset_may_be_cached_for_ever_by_the_hash_in_its_name() -> None:
    assets = json.loads((DIST / "assets.json").read_text())["assets"]
    assert [asset["path"] for asset in assets if not re.search(r"-[A-Z0-9]{8}\.\w+$", asset["path"])] == []


def test_the_page_takes_one_configuration_and_only_our_own_files() -> None:
    page = (DIST / "index.html").read_text()
    assert page.count("__ATRIUM_CONFIG__") == 1
    referred = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert referred
    assert [address for address in referred if not (DIST / address.removeprefix("/explorer/")).is_file()] == []


def test_styles_load_nothing_from_elsewhere() -> None:
    for style in DIST.glob("*.css"):
        loaded = re.findall(r"url\(\s*[\"']?([^)\"']+)", style.read_text())
        assert [address for address in loaded if not address.startswith(("/explorer/", "data:image/"))] == []


def test_the_explorer_stays_small() -> None:
    assert sum(path.stat().st_size for path in DIST.iterdir()) < DIST_BYTES_MAX


def test_the_lock_names_no_place_and_every_package_is_checked() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    fetched = {name: entry for name, entry in packages.items() if name}
    assert [name for name, entry in fetched.items() if "resolved" in entry] == []
    assert [name for name, entry in fetched.items() if "integrity" not in entry] == []


def test_the_licences_name_every_dependency_with_its_version() -> None:
    told = (WEB / "LICENSES.txt").read_text()
    for name, version in json.loads((WEB / "package.json").read_text())["dependencies"].items():
        assert f"\n{name} {version}: " in told
