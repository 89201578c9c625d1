"""Host → tenant → pool → context: who asks, for whom, and how much they may. Knows `db` and `base`."""
