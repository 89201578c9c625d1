"""Root fields, one function each, one file an area; roots.py builds the schema out of all of them."""
