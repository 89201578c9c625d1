"""The tenants' tables, one file an area; `upkeep.py` holds what keeps a pool running."""
