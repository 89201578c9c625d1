"""The commands, one file a group; `main.py` finds the groups by walking this folder. No rules of the product here."""
