"""Databases: what tables say of themselves, the two doors, the guard. Knows `base` alone."""
