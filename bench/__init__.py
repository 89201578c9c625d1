"""Measurements over real servers and a real MariaDB; nothing of the product imports this."""
