"""The revisions of central; alembic loads them by path, `head.txt` names the last one."""
