"""The bottom of the house: settings, errors, ids, the bus and what an operator is told. Knows nothing above it."""
