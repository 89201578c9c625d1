"""The tables that everyone shares, one file an area; `work.py` holds what keeps the house running."""
