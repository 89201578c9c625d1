"""A plan as lines of text, one a step: what `atrium explain` prints and what the golden files keep."""

from __future__ import annotations

from collections.abc import Iterator

from execution.declare import Through
from execution.steps import (
    Answer,
    AnyNode,
    Below,
    Called,
    Column,
    Joined,
    Key,
    Leads,
    Lookup,
    Made,
    Nested,
    Page,
    Payload,
    Plan,
    Rows,
    Typename,
    View,
)

INDENT = "  "


def drawn(plan: Plan) -> str:
    """The steps, each below the one whose rows it starts from."""
    lines = [plan.kind]
    for root in plan.roots:
        if isinstance(root, tuple):
            lines.append(f"{INDENT}{root[0]}: the word {root[1]}")
        else:
            name = root.call.root.name
            lines += _answer(f"{root.response}: call {name}, then ", root.answer, INDENT)
    return "\n".join(lines) + "\n"


def _answer(said: str, answer: Answer, indent: str) -> Iterator[str]:
    if isinstance(answer, Page):
        yield from _page(f"{indent}{said}", answer, indent)
    elif isinstance(answer, View):
        yield f"{indent}{said}read {answer.node.name} {_columns(answer.keys)}{_shown(answer)}"
        yield from _view(answer, indent + INDENT)
    elif isinstance(answer, AnyNode):
        yield f"{indent}{said}read whatever the id is of"
        for view in answer.views.values():
            yield from _answer(f"as {view.node.name}: ", view, indent + INDENT)
    else:
        yield from _payload(said, answer, indent)


def _payload(said: str, payload: Payload, indent: str) -> Iterator[str]:
    yield f"{indent}{said}show what it returns"
    for part in payload.shown:
        if isinstance(part.made, View):
            yield from _answer(f"{part.response}: ", part.made, indent + INDENT)


def _page(said: str, page: Page, indent: str) -> Iterator[str]:
    parts = [
        f"a page of {page.node.name} {_columns(page.keys())}" if page.has_rows else "",
        "its order's columns for cursors" if page.cursors else "",
        "the count" if page.has_count else "",
    ]
    yield said + (", ".join(part for part in parts if part) or "nothing to read")
    for view in page.views:
        if any(not isinstance(shown, Leads) for shown in view.shown):
            yield f"{indent}{INDENT}show{_shown(view)}"
        yield from _view(view, indent + INDENT)


def _view(view: View, indent: str) -> Iterator[str]:
    for shown in view.shown:
        if isinstance(shown, Leads):
            start = f"{shown.response} from {', '.join(shown.keys) or 'the request'}: "
            yield from _below(indent + start, view.below[shown.place], indent)


def _below(said: str, below: Below, indent: str) -> Iterator[str]:
    if isinstance(below, Nested):
        yield from _page(f"{said}for all parents at once ", below.page, indent)
    elif isinstance(below, Column):
        yield f"{said}for all parents at once {below.how.table.__tablename__}.{below.how.column}"
    elif isinstance(below, Called):
        call = f"{said}call {below.how.function.__name__}{' for all parents at once' if below.how.batched else ''}"
        if isinstance(below.made, View):
            yield f"{call}, then read {below.made.node.name}{_shown(below.made)}"
            yield from _view(below.made, indent + INDENT)
        else:
            yield call
    else:
        kind = {Joined: "joined", Lookup: "by all ids at once", Rows: "for all parents at once"}[type(below)]
        if below.view.shared and isinstance(below, Lookup):
            kind = "remembered, or by all ids at once"
        over = f" over {below.how.link.__tablename__}" if isinstance(below.how, Through) else ""
        view = below.view
        yield f"{said}{kind} {view.node.name}{over} {_columns(view.keys)}{_shown(view)}"
        yield from _view(view, indent + INDENT)


def _columns(keys: set[str]) -> str:
    return f"[{', '.join(sorted(keys))}]"


def _shown(view: View) -> str:
    words = []
    for shown in view.shown:
        if isinstance(shown, Typename | Key):
            words.append(shown.response)
        elif isinstance(shown, Made):
            words.append(f"{shown.response} by {shown.how.function.__name__}")
        elif not isinstance(shown, Leads):
            words.append(shown.response if shown.response == shown.key else f"{shown.response} = {shown.key}")
    return f" → {', '.join(words)}" if words else ""
