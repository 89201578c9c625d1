"""What Atrium is measured against: the same queries over the same rows, each in its own way."""
