"""The two trees of revisions as alembic reads them; nothing here changes a database."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from db.zones import Zone

HERE = Path(__file__).parent


def head(tree: Zone) -> str:
    """The newest revision of a tree, as its `head.txt` says; two branches that both add one conflict there."""
    return (HERE / tree.value / "head.txt").read_text().strip()


def scripts(tree: Zone) -> ScriptDirectory:
    """The tree's revisions, as alembic reads them."""
    return ScriptDirectory(HERE, version_locations=[str(HERE / tree.value)])


def context(connection: sa.Connection, tree: Zone, **options: Any) -> MigrationContext:
    """Alembic's view of one database; each tree keeps its revision in a table of its own."""
    return MigrationContext.configure(connection, opts={"version_table": f"revisions_{tree.value}", **options})
