"""Finds the areas by walking schema/ and resolvers/, applies what extends what, and builds the served schema once.

A new area adds its files and edits nothing here. `python -m resolvers.roots` writes `schema/schema.graphql`.
"""

import functools
import importlib
import pkgutil
from pathlib import Path

import strawberry

import resolvers
import schema
from execution import build, library
from resolvers import payload

SDL_FILE = Path(schema.__file__).with_name("schema.graphql")

DESCRIPTIONS = {
    "Query": "What can be asked. Tenant fields are served on the tenant's host alone.",
    "Mutation": "What can be done. Each answers with a payload: the changed object and what a user can mend.",
    "Subscription": "the first event is the present state, at once; the token comes in connection_init as "
    '{"authorization": "Bearer …"}',
}


@functools.cache
def served() -> strawberry.Schema:
    """The served schema; the same object on every call."""
    for room in (schema, resolvers):
        for module in pkgutil.walk_packages(room.__path__, prefix=f"{room.__name__}."):
            importlib.import_module(module.name)
    return build.build(library, payload.refused, descriptions=DESCRIPTIONS)


def sdl() -> str:
    """The served schema in the schema language, as it is committed."""
    return served().as_str().strip() + "\n"


def write_sdl() -> None:
    """Write the committed file anew."""
    SDL_FILE.write_text(sdl())


if __name__ == "__main__":
    importlib.import_module("resolvers.roots").write_sdl()
