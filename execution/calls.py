"""What a root field does, in order: ask who may, prepare the arguments, call the function, answer its read.

The functions themselves are in resolvers/; what a refusal looks like in a payload is in `resolvers/payload.py`.
"""

import contextlib
import enum
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphql import GraphQLResolveInfo
from strawberry.utils.str_converters import to_camel_case

from base import errors
from base.ids import GlobalId
from execution import access, hints
from execution.declare import Gathered, Read, Root
from tenancy.context import Context

if TYPE_CHECKING:  # build.py imports this file
    from execution.build import Library

NESTING_MAX = 20
_WHOLE = (bool, int, float, enum.Enum)  # arguments that are what they are

Refused = Callable[[type, errors.Refusal], object]
Info = GraphQLResolveInfo[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A root field ready to be served: its declaration, its hints and what answers its reads."""

    root: Root
    hints: dict[str, hints.Hint]
    takes_context: bool
    library: "Library"
    refused: Refused

    async def answer(self, info: Info, arguments: dict[str, Any]) -> object:
        """The value of a field of Query or Mutation. Raises Denials; a mutation's Refusal becomes its payload."""
        if self.root.kind == "mutation":
            self.library.act_as(info, None)
        known = self.library.answered(info)
        if known is NotImplemented:
            known = await self.value(self.library.context_of(info), arguments)
        elif isinstance(known, Exception):
            raise known
        return await resolved(self.library, known, info)

    async def value(self, ctx: Context, arguments: dict[str, Any]) -> object:
        """What the function returns, reads not answered yet. Raises Denials; a mutation's Refusal is a payload."""
        access.check(ctx, self.root.access)
        try:
            return await self._called(ctx, self._prepared(ctx, arguments))
        except errors.Refusal as refusal:
            return self._said_no(refusal)

    async def subscribe(self, info: Info, arguments: dict[str, Any]) -> AsyncIterator[object]:
        """The stream of a field of Subscription; whoever may not gets no stream. Events are reads."""
        ctx = self.library.context_of(info)
        access.check(ctx, self.root.access)
        return _until_refused(self._called(ctx, self._prepared(ctx, arguments)))

    def _called(self, ctx: Context, arguments: dict[str, Any]) -> Any:
        return self.root.function(ctx, **arguments) if self.takes_context else self.root.function(**arguments)

    def _prepared(self, ctx: Context, arguments: dict[str, Any]) -> dict[str, Any]:
        here = ctx.route.tenant_id if ctx.route is not None else None
        return {
            name: value
            if value is None or isinstance(value, _WHOLE)
            else prepared(value, self.hints[name].plain, path=(to_camel_case(name),), here=here)
            for name, value in arguments.items()
        }

    def _said_no(self, refusal: errors.Refusal) -> object:
        answer = self.hints["return"].plain
        if self.root.kind == "mutation":
            refusal.field = self._path(refusal.field)
            return self.refused(hints.inner(answer), refusal)
        if isinstance(refusal, errors.NotFound) and hints.nullable(answer):
            return None
        raise refusal

    def _path(self, field: tuple[str, ...]) -> tuple[str, ...]:
        """An action names its own argument; the client wrote it inside `input`, in camel case."""
        given = self.hints.get("input")
        if given is not None and field and field[0] != "input":
            field = ("input", *field)
        names = {"input", *self.hints, *(given.plain.__dataclass_fields__ if given is not None else ())}
        return tuple(to_camel_case(part) if part in names else part for part in field)


# Every field of Query and Mutation by its type's and its own GraphQL name; filled by build().
SERVED: dict[tuple[str, str], Call] = {}


async def resolved(library: "Library", value: object, info: Info) -> object:
    """Answer a read; any other value is its own answer."""
    if isinstance(value, Read):
        if value.viewer is not None:
            library.act_as(info, value.viewer)
        return await library.resolve(value, info)
    if isinstance(value, Gathered):
        found: dict[str, object] = {}
        for read in value.reads:
            for row in await library.resolve(read, info):  # type: ignore[attr-defined]  # kind "rows" answers a list
                found[row.id] = row
        return [place if isinstance(place, Exception) else found.get(place) for place in value.ids]
    return value


async def _until_refused(events: AsyncGenerator[object]) -> AsyncGenerator[object]:
    """The events; a refusal or denial becomes the last one, since a stream that raises would only break off."""
    try:
        async with contextlib.aclosing(events):
            async for event in events:
                yield event
    except errors.AtriumError as error:
        yield error


def prepared(value: Any, hint: Any, *, path: tuple[str, ...], here: str | None) -> Any:
    """An argument as its function takes it: ids know where they were used, texts can be stored anywhere.

    Raises BadUserInput, naming the place.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if len(path) > NESTING_MAX:
        raise errors.BadUserInput(f'Argument "{path[0]}" is nested more than {NESTING_MAX} levels deep.')
    kind = hints.inner(hint)
    if isinstance(value, str):
        _check_text(value, path)
        return GlobalId.read(value, here=here, path=path) if kind is GlobalId else value
    if isinstance(value, list):
        return [prepared(each, kind, path=(*path, str(at)), here=here) for at, each in enumerate(value)]
    if isinstance(value, dict):
        for key, each in value.items():
            _check_text(key, path)
            prepared(each, object, path=(*path, key), here=here)
        return value
    if hasattr(value, "__dataclass_fields__"):
        for name, field in hints.of_input(type(value)).items():
            part = getattr(value, name)
            setattr(value, name, prepared(part, field.plain, path=(*path, to_camel_case(name)), here=here))
    return value


def _check_text(text: str, path: tuple[str, ...]) -> None:
    """No engine stores a lone surrogate and PostgreSQL stores no NUL: said here, not by a driver in the middle."""
    if "\0" in text or not _is_unicode(text):
        raise errors.BadUserInput(f'Argument "{".".join(path)}" has a character that is no text (NUL or half a pair).')


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parameters(root: Root) -> list[inspect.Parameter]:
    """The arguments of a root field: its function's parameters, without a first one called `ctx`."""
    found = list(inspect.signature(root.function).parameters.values())
    return found[1:] if takes_context(root) else found


def takes_context(root: Root) -> bool:
    """Whether the function's first parameter is `ctx`, which gets the Context."""
    return next(iter(inspect.signature(root.function).parameters), None) == "ctx"
