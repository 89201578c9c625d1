"""A planned connection: where it stands in its list, and its display with edges, page info and count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from execution.fetch import Seen
from execution.keyset import Window, first_of, order_of
from execution.layout import Layout
from execution.prefetch import Paging
from execution.rows import Connected, PageRows, Row
from execution.shapes import decoder
from execution.steps import Page
from tenancy.context import Context

STANDS_MAX = 100

Displays = list[Any]  # dicts, or bytes that were made of them


class Stand:
    """A window on a connection; cursors are made and opened only where the document has them, for one request then."""

    __slots__ = ("_order", "_paging", "_who", "layout", "window")

    def __init__(
        self,
        page: Page,
        order: tuple[str, ...],
        /,
        *,
        led: bool,
        window: Window,
        who: Seen | None = None,
        paging: Paging | None = None,
    ) -> None:
        """`led`: one page of many, each parent's value before its rows."""
        self._order = order_of(page.node.table, order)
        self._who, self._paging, self.window = who, paging, window
        more = self._order.keys if page.cursors else ()
        layout = page.layouts.get(more)
        if layout is None:
            layout = page.layouts[more] = Layout(page.node, page.views, led=led, more=more)
        self.layout: Layout = layout

    def cursor(self, row: Sequence[Any]) -> str:
        """The cursor of a row."""
        if self._paging is None or self._who is None:
            raise TypeError("a cursor was not planned")
        dialect, at, values = self._who.database.reader.dialect, self.layout.root.at, {}
        for key in self._order.keys:
            decode = decoder(self._order.table, key, dialect)
            values[key] = row[at[key]] if decode is None else decode(row[at[key]])
        return self._paging.sealed(values)

    def connected(self, rows: list[Row], *, has_next: bool, total: int | None) -> Connected:
        """The page as the library serves it."""
        page, after = PageRows(rows, has_next, total), self.window.after is not None
        if self._paging is None:
            return Connected(page, _unsealed, continued=after, cursors=False)
        return Connected(page, self._paging.seal, continued=after, cursors=True)

    def stands(self, name: str, rows: Sequence[Sequence[Any]], *, has_next: bool) -> Any:
        """A field of the page info."""
        if name == "__typename":
            return "PageInfo"
        if name == "hasNextPage":
            return has_next
        if name == "hasPreviousPage":
            return self.window.after is not None
        if not rows:
            return None
        return self.cursor(rows[0] if name == "startCursor" else rows[-1])


def stand(
    ctx: Context,
    page: Page,
    order: tuple[str, ...],
    /,
    *,
    who: Seen,
    arguments: dict[str, Any],
    first: int | None,
    after: str | None,
    most: int,
    led: bool,
) -> Stand:
    """Where a page stands. Without cursors that is the same for everybody. Raises BadUserInput naming an argument."""
    if page.cursors or after is not None:
        given = {**arguments, "first": first, "after": after}
        paging = Paging(ctx, page.node, order=order, place=page.place, arguments=given, most=most)
        return Stand(page, order, led=led, window=paging.window, who=who, paging=paging)
    first = first_of(first, most)
    found: Stand | None = page.stands.get((order, first))
    if found is None:
        found = Stand(page, order, led=led, window=Window(first))
        if len(page.stands) >= STANDS_MAX:
            page.stands.clear()
        page.stands[order, first] = found
    return found


def _unsealed(_row: Row) -> str:
    raise TypeError("a cursor was not planned")


def connection(
    page: Page,
    rows: Sequence[Sequence[Any]],
    views: Sequence[Displays],
    /,
    *,
    stand: Stand,
    has_next: bool,
    total: int | None,
) -> dict[str, Any]:
    """The display of one page."""
    shown: dict[str, Any] = {}
    for response, kind, more in page.shown:
        if kind == "nodes":
            shown[response] = views[more]
        elif kind == "word":
            shown[response] = more
        elif kind == "totalCount":
            shown[response] = total
        elif kind == "pageInfo":
            shown[response] = {inner: stand.stands(name, rows, has_next=has_next) for inner, name in more}
        else:
            shown[response] = [
                {inner: _edge(how, at, views=views, row=row, stand=stand) for inner, *how in more}
                for at, row in enumerate(rows)
            ]
    return shown


def _edge(how: list[Any], at: int, *, views: Sequence[Displays], row: Sequence[Any], stand: Stand) -> Any:
    kind, more = how
    if kind == "node":
        return views[more][at]
    return more if kind == "word" else stand.cursor(row)
