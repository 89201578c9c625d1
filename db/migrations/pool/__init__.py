"""The revisions of a pool; alembic loads them by path, `head.txt` names the last one."""
