"""How databases come to their tables: one tree of revisions a zone, and who runs and makes them."""
