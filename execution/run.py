"""Runs a plan for one request: root fields are called, what they return is read and shown.

The levels below a root field are in `execution/levels.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson
from graphql.execution.values import VariableValues

from execution import access, reading, snapshot, statements
from execution.amounts import Written
from execution.bounds import Begun
from execution.declare import Gathered, NodeInfo, Read, node_of
from execution.keyset import FIRST_MAX, Window
from execution.layout import Selected
from execution.levels import Levels, layout_of
from execution.page import Stand, connection, stand
from execution.reading import Reading, one_or_all
from execution.sending import Journal, Statement, Tuples
from execution.snapshot import WRITTEN_BYTES_MAX
from execution.steps import AnyNode, Incomplete, Page, Payload, Plan, RootStep, View
from tenancy.context import Context, with_viewer

READS_MAX = 1_000
# Of what is kept by its arguments: a slug, a cursor or a filter's word is shorter, and only their number is counted.
KEPT_CHARACTERS_MAX = 400
# What pure functions have returned: a read names no caller, so one of the same arguments serves everybody.
READS: dict[tuple[Callable[..., Any], tuple[tuple[str, Any], ...]], Read] = {}


class Run(Levels):
    """One request on its way through a plan."""

    def __init__(self, ctx: Context, variables: VariableValues, journal: Journal | None = None) -> None:
        super().__init__(ctx, variables, journal)
        self.written: dict[str, Written] = {}  # by response name, the parts that are kept for everybody
        self.acted: dict[RootStep, Run] = {}  # by action, the run that reads its payload

    @property
    def texts(self) -> list[str]:
        """The statements that were sent."""
        return [*super().texts, *(text for run in self.acted.values() for text in run.texts)]

    async def answered(self, plan: Plan) -> dict[str, Any]:
        """The answer's data, its fields in the document's order. Raises where anything is wrong with any of them."""
        shown: dict[str, Any] = {}
        if plan.kind == "mutation":
            for step in plan.steps:
                shown[step.response] = await self._acted(step)
        else:
            waiting = []
            for step in plan.steps:
                known = self._kept(step)
                if known is None:
                    waiting.append(step)
                else:
                    shown[step.response] = known
            if waiting:
                shown |= await self._asked(waiting)
        if len(plan.roots) == 1 == len(shown):
            return shown
        return {
            each.response if isinstance(each, RootStep) else each[0]: shown[each.response]
            if isinstance(each, RootStep)
            else each[1]
            for each in plan.roots
        }

    async def _asked(self, steps: Sequence[RootStep]) -> dict[str, Any]:
        """The displays of root fields by response name. Reads that are known by now are sent together."""
        readings: list[Reading] = []
        others: list[RootStep] = []
        for step in steps:
            found = await self._read_by(step)
            if found is None:
                others.append(step)
            else:
                readings.append(found)
        if not others:
            return await self._answered(readings)
        loads: list[Coroutine[Any, Any, Any]] = [self._root(step) for step in others]
        if readings:
            loads.append(self._answered(readings))
        parts = await self.together(loads)
        known: dict[str, Any] = parts.pop() if readings else {}
        return {step.response: part for step, part in zip(others, parts, strict=True)} | known

    async def _read_by(self, step: RootStep) -> Reading | None:
        """What a root field reads, where its function waits for nobody; None for one that is answered by itself."""
        if step.waits or step.is_everybodys or not isinstance(step.answer, Page | View):
            return None
        call = self._call(step)
        try:
            waits_for = call.send(None)
        except StopIteration as done:
            value = done.value
        except Exception as error:
            value = error
        else:
            # It is met once: from now on it is begun beside others.
            step.waits = True
            try:
                value = await Begun(call, waits_for)
            except Exception as error:
                value = error
        self.journal.called[step] = value
        if not isinstance(value, Read) or value.viewer is not None or value.values is not None:
            return None
        return self._reading_of(step, step.answer, value)

    def _reading_of(self, step: RootStep, answer: Page | View, read: Read) -> Reading:
        table = answer.node.table
        who = self.seen(table)
        is_plain = not (read.where or read.after or (isinstance(answer, Page) and answer.cursors))
        if not is_plain or snapshot.is_everybodys(table):
            return self._new_reading(step, answer, read)
        key = (read.order, read.first, read.limit, who.owned, who.database.leases.dialect)
        known = reading.recipe(step, key)
        if known is not None:
            self._is_lasting = False
            return known.reading(step, read, table, who=who)
        made = self._new_reading(step, answer, read)
        reading.keep(step, key, made)
        return made

    def _new_reading(self, step: RootStep, answer: Page | View, read: Read) -> Reading:
        if isinstance(answer, Page):
            stand = self.stand_at_root(answer, read)
            return Reading(step, read, stand.layout, answer.views, stand, *self._page_asks(answer, read, stand))
        layout = layout_of(answer, led=False)
        return Reading(step, read, layout, (answer,), None, self._listing(answer.node, read, layout.selected))

    async def _answered(self, readings: Sequence[Reading]) -> dict[str, Any]:
        await self.send_all([asked for each in readings for asked in each.statements()])
        waiting: list[Reading] = []
        shown: dict[str, Any] = {}
        for each in readings:
            rows = each.rows()
            self.spend(len(rows))
            displays = self.shown_now(each.layout, each.views, rows)
            if displays is None:
                waiting.append(each)
            else:
                shown[each.step.response] = each.display(displays)
        if waiting:
            came = await self.together([self._shown_later(each.layout, each.views, each.rows()) for each in waiting])
            shown |= {each.step.response: each.display(found) for each, found in zip(waiting, came, strict=True)}
        return shown

    async def _acted(self, step: RootStep) -> Any:
        """An action, then its payload by a run of its own: it sees what this action has changed, the catalog too."""
        value = await self.called(step)
        run = self.acted[step] = Run(self.ctx, self._variables)
        run.journal.called[step] = value
        shown = await run._shown(step, value)
        self.spend(run._objects)
        return shown

    async def _root(self, step: RootStep) -> Any:
        if not step.is_everybodys:
            return await self._shown(step, await self.called(step))
        # A run of its own, so that it is known what this field alone has asked for.
        run = Run(self.ctx, self._variables, self.journal)
        run._catalog = self._catalog
        shown = await run._shown(step, await run.called(step))
        self.spend(run._objects)
        key = _key(step.arguments.of(self._variables))
        if run._is_lasting and key is not None and shown is not None:
            text = orjson.dumps(shown)
            kept = Written(orjson.Fragment(text), run._objects)
            self._catalog.displays(step)[key] = self.written[step.response] = kept
            self._catalog.count(1 + len(text) // WRITTEN_BYTES_MAX)
        return shown

    def _kept(self, step: RootStep) -> orjson.Fragment | None:
        """The display of a field that looks the same to everybody, as this version of the catalog has it."""
        if not step.is_everybodys:
            return None
        access.check(self.ctx, step.call.root.access)
        known: Written | None = self._catalog.displays(step).get(_key(step.arguments.of(self._variables)))
        if known is None:
            return None
        self.spend(known.objects)
        self.written[step.response] = known
        return known.display

    async def called(self, step: RootStep) -> Any:
        """What the field's function returns: a read, a payload, a value; once a request. Raises what it raises."""
        called = self.journal.called
        if step not in called:
            try:
                called[step] = await self._call(step)
            except Exception as error:
                called[step] = error
        value = called[step]
        if isinstance(value, Exception):
            raise value
        return value

    async def _call(self, step: RootStep) -> Any:
        if step.ready is not None and not step.is_pure:
            return await step.call.value(self.ctx, step.ready)
        given = step.arguments.of(self._variables)
        if not step.is_pure:
            return await step.call.value(self.ctx, step.prepare(given))
        access.check(self.ctx, step.call.root.access)
        arguments = _key(given)
        if arguments is None:
            return await step.call.value(self.ctx, step.prepare(given))
        key = (step.call.root.function, arguments)
        known = READS.get(key)
        if known is not None:
            return known
        value = await step.call.value(self.ctx, step.prepare(given))
        if isinstance(value, Read):
            if len(READS) >= READS_MAX:
                READS.clear()
            READS[key] = value
        return value

    async def _shown(self, step: RootStep, value: Any) -> Any:
        """The display of what a root field's function has returned."""
        if isinstance(value, Gathered):
            return await self._gathered(step, value)
        if value is None:
            if not step.nullable:
                raise Incomplete
            return None
        if isinstance(step.answer, Payload):
            return await self._payload(step.answer, value)
        if not isinstance(value, Read):
            raise Incomplete
        if isinstance(step.answer, Page):
            return await self._page(step.answer, value)
        return await self.read(step.answer, value)

    async def read(self, answer: View | AnyNode, read: Read) -> Any:
        """The display of a read's rows: a list, one or None."""
        if read.values is not None:
            raise Incomplete
        view = answer.view(node_of(read.node)) if isinstance(answer, AnyNode) else answer
        run = self if read.viewer is None else Run(with_viewer(self.ctx, read.viewer), self._variables, self.journal)
        rows = await run.rows(view, read)
        run.spend(len(rows))
        (shown,) = await run.shown_by(layout_of(view, led=False), (view,), rows)
        return one_or_all(read, shown)

    async def rows(self, view: View, read: Read) -> Tuples:
        """The rows of a read that is no page."""
        listed = self._listing(view.node, read, layout_of(view, led=False).selected)
        await self.send_all((listed,))
        return listed.rows

    async def _gathered(self, step: RootStep, value: Gathered) -> list[Any]:
        if not isinstance(step.answer, AnyNode) or any(isinstance(place, Exception) for place in value.ids):
            raise Incomplete
        found: dict[str, Any] = {}
        for read in value.reads:
            node = node_of(read.node)
            view = step.answer.view(node)
            layout = layout_of(view, led=False)
            rows = await self.rows(view, read)
            self.spend(len(rows))
            prefix, at = self.prefix(node.table), layout.root.at["id"]
            (shown,) = await self.shown_by(layout, (view,), rows)
            for row, display in zip(rows, shown, strict=True):
                key = row[at]
                found[prefix + (f"{key:x}" if isinstance(key, int) else key.encode().hex())] = display
        return [found.get(str(place)) for place in value.ids]

    async def _payload(self, payload: Payload, value: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for part in payload.shown:
            inner = value if part.name is None else getattr(value, part.name)
            if not isinstance(part.made, View):
                shown[part.response] = part.made(inner)
            elif isinstance(inner, Read):
                shown[part.response] = await self.read(part.made, inner)
            elif inner is None and part.nullable:
                shown[part.response] = None
            else:
                raise Incomplete
        return shown

    async def _page(self, page: Page, read: Read) -> dict[str, Any]:
        stand = self.stand_at_root(page, read)
        rows, total = await self.page(page, read, stand)
        first = stand.window.first
        has_next, rows = len(rows) > first, rows[:first]
        self.spend(len(rows))
        views = await self.shown_by(stand.layout, page.views, rows)
        return connection(page, rows, views, stand=stand, has_next=has_next, total=total)

    def stand_at_root(self, page: Page, read: Read) -> Stand:
        """Where a root field's page stands. Raises BadUserInput naming an argument."""
        return stand(
            self.ctx,
            page,
            read.order,
            who=self.seen(page.node.table),
            arguments=page.arguments.of(self._variables),
            first=read.first,
            after=read.after,
            most=FIRST_MAX,
            led=False,
        )

    async def page(self, page: Page, read: Read, stand: Stand) -> tuple[Tuples, int | None]:
        """The page's rows, one more than it holds, and the number of all rows where that is asked for."""
        listed, counted = self._page_asks(page, read, stand)
        await self.send_all([each for each in (listed, counted) if each is not None])
        return () if listed is None else listed.rows, None if counted is None else int(counted.rows[0][0])

    def _page_asks(self, page: Page, read: Read, stand: Stand) -> tuple[Statement | None, Statement | None]:
        listed = counted = None
        if page.has_rows:
            listed = self._listing(page.node, read, stand.layout.selected, window=stand.window)
        if page.has_count:
            table = page.node.table
            arguments = (table, page.node.where, self.seen(table).owned)
            counted = self.asking(table, statements.counted, arguments, {}, where=read.where)
        return listed, counted

    def _listing(self, node: NodeInfo, read: Read, what: Selected, /, *, window: Window | None = None) -> Statement:
        after = window is not None and window.after is not None
        values = {"at_limit": read.limit} if window is None else window.values()
        arguments = (node.table, what, read.order, node.where, after, self.seen(node.table).owned)
        return self.asking(node.table, statements.listed_by_place, arguments, values, where=read.where)


def _key(arguments: dict[str, Any]) -> tuple[tuple[str, Any], ...] | None:
    """A field's arguments as the key of what is kept; None where they are long or have no hash, as input objects."""
    key = tuple(arguments.items())
    if sum(len(value) for value in arguments.values() if isinstance(value, str)) > KEPT_CHARACTERS_MAX:
        return None
    try:
        hash(key)
    except TypeError:
        return None
    return key
