"""Types of the public schema, one file an area: declarations only."""
