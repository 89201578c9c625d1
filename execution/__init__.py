"""How an answer is made: declarations in, rows out."""
