"""Long work on the event loop, done in turns: of all who have much to do, one does a little in each round of the loop.

Whoever needs the loop beside them waits for one turn, however many they are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from graphql import Executor, GraphQLObjectType, GraphQLOutputType
from graphql.type.definition import GraphQLResolveInfoHelpers
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

# Two or three milliseconds' worth: a field takes ten to twenty microseconds, a value one.
FIELDS_A_TURN = 200
VALUES_A_TURN = 2_000


class _Turns:
    """Who waits for a turn on one event loop, in their order."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_called = False

    async def next(self) -> None:
        loop = asyncio.get_running_loop()
        place = loop.create_future()
        self._waiting.append(place)
        if not self._is_called:
            self._is_called = True
            loop.call_soon(self._call)
        await place

    def _call(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # who has gone away meanwhile takes no turn
                place.set_result(None)
                break
        self._is_called = bool(self._waiting)
        if self._is_called:
            asyncio.get_running_loop().call_soon(self._call)


_OF: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


async def turn() -> None:
    """Wait for the next turn, at the earliest in the loop's next round."""
    await _OF.setdefault(asyncio.get_running_loop(), _Turns()).next()


def _unused(*_: object) -> NoReturn:
    raise RuntimeError("resolvers of ours start nothing beside themselves")


_NO_HELPERS = GraphQLResolveInfoHelpers(gather=_unused, track=_unused)


class InTurns(Executor[None]):
    """The library's executor, which completes what is large in turns, in the very order in which it always does.

    Its functions that complete a value await nothing. They run as SQLAlchemy's do, in a greenlet, from within which
    they can wait for a turn.
    """

    _done = 0  # fields since the last turn began

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        # Nobody asks for them, and they would hold this and this them, with all that is answered.
        self.async_helpers = _NO_HELPERS

    def build_response(self, data: Any) -> Any:
        """The answer; its errors know by their frames who found them, and are not known to it any more."""
        found = super().build_response(data)
        self.collected_errors = type(self.collected_errors)()
        return found

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Any,
        grouped_field_set: Any,
        position_context: None,
        /,
    ) -> Any:
        """An object's fields, after waiting for a turn where enough was done in this one."""
        if self._done >= FIELDS_A_TURN and in_greenlet():
            await_only(turn())
            self._done = 0
        self._done += len(grouped_field_set)
        return super().execute_fields(parent_type, source_value, path, grouped_field_set, position_context)

    async def complete_awaitable_value(
        self,
        return_type: GraphQLOutputType,
        field_details_list: Any,
        info: Any,
        path: Any,
        result: Any,
        position_context: None,
        /,
    ) -> Any:
        """What a field answers that had to be waited for, as every root field's does."""
        try:
            found = await result
            completed = await greenlet_spawn(
                self.complete_value, return_type, field_details_list, info, path, found, position_context
            )
            return await completed if self.is_awaitable(completed) else completed
        except Exception as error:  # whatever it is, the field is where it is told
            self.handle_field_error(error, return_type, field_details_list, path)
            return None
