"""The catalog in memory, each effect's JSON made once for each query that shows it."""

from __future__ import annotations

from typing import Any

import orjson

from bench.peers.by_hand.database import CENTRAL, EFFECTS_A_PAGE, Database


class Snapshot:
    """Effects by id and slug; `priced` is as the gallery shows them, `named` and `slugged` as lists of videos do."""

    def __init__(self, effects: Any, categories: Any) -> None:
        shelves = {category_id: {"name": name} for category_id, name in categories}
        self.priced: dict[int | None, orjson.Fragment | None] = {None: None}
        self.named: dict[int | None, orjson.Fragment | None] = {None: None}
        self.slugged: dict[int | None, orjson.Fragment | None] = {None: None}
        self.by_slug: dict[str, orjson.Fragment | None] = {}
        for effect_id, slug, name, cost, category_id, _ in effects:
            priced = _fragment(
                {"id": f"Effect_{effect_id:x}", "name": name, "tokenCost": cost, "category": shelves.get(category_id)}
            )
            self.priced[effect_id] = self.by_slug[slug] = priced
            self.named[effect_id] = _fragment({"name": name})
            self.slugged[effect_id] = _fragment({"name": name, "slug": slug})
        popular = sorted(effects, key=lambda effect: (-effect[5], -effect[0]))[:EFFECTS_A_PAGE]
        self.popular = [(effect[0], effect[2]) for effect in popular]


def _fragment(value: object) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(value))


async def load(database: Database) -> Snapshot:
    """Read the catalog."""
    of_effects = f"SELECT id, slug, name, token_cost, category_id, popularity FROM {CENTRAL}.effects"
    effects, categories = await database.read(
        (f"{of_effects} WHERE archived_at IS NULL", ()), (f"SELECT id, name FROM {CENTRAL}.categories", ())
    )
    return Snapshot(effects, categories)
