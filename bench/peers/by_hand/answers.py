"""One function a query: fetch the rows, name them, write them."""

from __future__ import annotations

from datetime import datetime

from orjson import Fragment

from base.ids import Cursors
from bench import places, rows, workloads
from bench.peers.by_hand.database import GALLERY, OF_EFFECTS, VIEWER, Database, PoolSql
from bench.peers.by_hand.snapshot import Snapshot
from bench.rows import Owner, Sizes

PAGE, GALLERY_PAGE, JOBS = 20, 50, 5
# Writing a moment costs ten times as much as finding it written.
MOMENTS: dict[datetime, str] = {}
MOMENTS_MAX = 20_000


def written(moment: datetime) -> str:
    """A moment in the contract's words, remembered."""
    if len(MOMENTS) >= MOMENTS_MAX:
        MOMENTS.clear()
    text = MOMENTS[moment] = moment.isoformat(timespec="milliseconds") + "Z"
    return text


class Answers:
    """What each query is answered with: `of` finds the function by the query's text."""

    def __init__(self, database: Database, snapshot: Snapshot) -> None:
        self._database, self._snapshot = database, snapshot
        self._cursors = Cursors(places.SECRET_KEY.encode())
        self._context = self._cursors.context("gallery")
        self._sql = {name: PoolSql(database) for name, database in places.POOLS.items()}
        everyone = rows.owners(Sizes())
        self._owners: dict[str, Owner] = {f"Bearer {owner.token}": owner for owner in everyone}
        self.hosts = frozenset((places.BASE_DOMAIN, *(owner.host for owner in everyone)))
        self.of = {
            workloads.W0.query: self.typename,
            workloads.W1.query: self.gallery,
            workloads.W2.query: self.videos,
            workloads.W3.query: self.effect,
            workloads.W4.query: self.effects,
            workloads.W5.query: self.dashboard,
        }

    def owner(self, host: str, authorization: str) -> Owner:
        """The tenant of a host whose access token this is. Raises PermissionError."""
        owner = self._owners.get(authorization)
        if owner is None or owner.host != host:
            raise PermissionError("the access token is not of this host")
        return owner

    async def typename(self, _host: str, _authorization: str, _variables: dict[str, str]) -> object:
        """W0."""
        return {"__typename": "Query"}

    async def gallery(self, host: str, _authorization: str, _variables: dict[str, str]) -> object:
        """W1."""
        found = (await self._database.read((GALLERY, (GALLERY_PAGE + 1,))))[0]
        more = len(found) > GALLERY_PAGE
        shown = found[:GALLERY_PAGE]
        effects, url = self._snapshot.priced, f"http://{host}/files/"
        nodes = [
            {
                "id": f"GalleryVideo_{key:x}",
                "title": title,
                "tags": Fragment(tags),
                "processedFileUrl": url + output,
                "publishedAt": MOMENTS.get(moment) or written(moment),
                "effect": effects[effect],
            }
            for key, title, tags, output, moment, effect in shown
        ]
        last = shown[-1]
        cursor = self._cursors.seal([last[4].isoformat(), last[0]], self._context)
        return {"gallery": {"nodes": nodes, "pageInfo": {"hasNextPage": more, "endCursor": cursor}}}

    async def videos(self, host: str, authorization: str, _variables: dict[str, str]) -> object:
        """W2."""
        owner = self.owner(host, authorization)
        sql = self._sql[owner.pool].videos_with_files
        found = (await self._database.read((sql, (owner.tenant, owner.user_id, PAGE + 1))))[0]
        effects, prefix = self._snapshot.slugged, f"Video_{owner.tenant.encode().hex()}_"
        return {
            "videos": {
                "nodes": [
                    {
                        "id": f"{prefix}{key:x}",
                        "title": title,
                        "status": status,
                        "createdAt": MOMENTS.get(moment) or written(moment),
                        "effect": effects[effect],
                        "outputFile": None if name is None else {"name": name, "sizeBytes": size, "mimeType": kind},
                    }
                    for key, title, status, moment, effect, name, size, kind in found[:PAGE]
                ]
            }
        }

    async def effect(self, _host: str, _authorization: str, variables: dict[str, str]) -> object:
        """W3."""
        return {"effect": self._snapshot.by_slug.get(variables["slug"])}

    async def effects(self, host: str, _authorization: str, _variables: dict[str, str]) -> object:
        """W4."""
        popular = self._snapshot.popular
        values = tuple(value for key, _ in popular for value in (key, GALLERY_PAGE + 1))
        found = (await self._database.read((OF_EFFECTS, values)))[0]
        url = f"http://{host}/files/"
        groups: dict[int, list[object]] = {key: [] for key, _ in popular}
        for effect, key, title, tags, output, moment in found:
            group = groups[effect]
            if len(group) < GALLERY_PAGE:
                group.append(
                    {
                        "id": f"GalleryVideo_{key:x}",
                        "title": title,
                        "tags": Fragment(tags),
                        "processedFileUrl": url + output,
                        "publishedAt": MOMENTS.get(moment) or written(moment),
                    }
                )
        nodes = [{"name": name, "galleryVideos": {"nodes": groups[key]}} for key, name in popular]
        return {"effects": {"nodes": nodes}}

    async def dashboard(self, host: str, authorization: str, _variables: dict[str, str]) -> object:
        """W5."""
        owner = self.owner(host, authorization)
        sql, mine = self._sql[owner.pool], (owner.tenant, owner.user_id)
        viewer, wallet, counted, found, jobs = await self._database.read(
            (VIEWER, (owner.user_id,)),
            (sql.wallet, (owner.tenant,)),
            (sql.videos_counted, mine),
            (sql.videos, (*mine, PAGE + 1)),
            (sql.jobs, (*mine, JOBS + 1)),
        )
        effects, prefix = self._snapshot.named, f"Video_{owner.tenant.encode().hex()}_"
        nodes = [{"id": f"{prefix}{key:x}", "title": title, "effect": effects[e]} for key, title, e in found[:PAGE]]
        return {
            "viewer": {"name": viewer[0][0]},
            "wallet": {"balance": wallet[0][0], "reserved": wallet[0][1]},
            "videos": {"totalCount": counted[0][0], "nodes": nodes},
            "aiJobs": {"nodes": [{"status": status, "progress": part} for status, part in jobs[:JOBS]]},
        }
