"""What the product does: one function an action, in the session of the one database it writes. Knows no GraphQL."""
