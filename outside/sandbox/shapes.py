"""The provider's objects as the installed `stripe` library describes them: made empty, and checked against it.

Nothing about an object's fields is written down here. The annotations of the library's classes say them, so an
upgrade that moves or renames a field makes `Book.make` refuse it and `differences` name it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import stripe

Body = dict[str, Any]

CLASSES: Mapping[str, type[stripe.StripeObject]] = {
    each.OBJECT_NAME: each
    for each in (
        stripe.BalanceTransaction,
        stripe.Charge,
        stripe.checkout.Session,
        stripe.Customer,
        stripe.Dispute,
        stripe.Event,
        stripe.Invoice,
        stripe.InvoiceLineItem,
        stripe.InvoicePayment,
        stripe.LineItem,
        stripe.PaymentIntent,
        stripe.PaymentMethod,
        stripe.Plan,
        stripe.Price,
        stripe.Product,
        stripe.Refund,
        stripe.Subscription,
        stripe.SubscriptionItem,
    )
}
PLAIN = {str: "", int: 0, float: 0.0, bool: False, Decimal: "0"}
MISSING = object()


def blank(cls: type[Any]) -> Body:
    """An object of a class with every field empty: null where it may be, else its type's nothing. The caller's own."""
    body: Body = json.loads(_blank_text(cls.__module__, cls.__qualname__))
    return body


def part(cls: type[stripe.StripeObject], **known: Any) -> Body:
    """An inner object, where `known` says more than nothing. Raises KeyError for a field that the library has not."""
    return filled(blank(cls), known)


def filled(body: Body, known: Mapping[str, Any]) -> Body:
    """The body with these fields set. Raises KeyError for one that it has not."""
    if strange := known.keys() - body.keys():
        raise KeyError(f"the installed stripe library knows no {', '.join(sorted(strange))} here")
    return {**body, **known}


def differences(body: Mapping[str, Any]) -> list[str]:
    """Where an object, with all that is inside it, is not as the library describes it; empty if it is."""
    kind = str(body.get("object"))
    if kind not in CLASSES:
        return [f"object: {kind!r} is no kind of ours"]
    found = list(_object(body, CLASSES[kind], at=kind))
    if kind == "event":
        found += [f"event.data.object: {each}" for each in differences(body["data"]["object"])]
    return found


@functools.cache
def _blank_text(module: str, name: str) -> str:
    """As text: parsing is how each caller gets an object of their own. By name, as the checker hashes no class."""
    cls = functools.reduce(getattr, name.split("."), sys.modules[module])
    return json.dumps(_blank(cls, module))


def _fields(cls: type[Any]) -> Mapping[str, Any]:
    """Name → annotation of what an object holds; `deleted` stands on objects that are gone alone."""
    return {
        name: hint
        for name, hint in inspect.get_annotations(cls).items()
        if not name.startswith("_") and name not in {"OBJECT_NAME", "deleted"}
    }


@functools.cache
def _imported(module: str) -> Mapping[str, tuple[str, str]]:
    """Name → (module, name there) of what a module imports, for the type checker alone too."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }


def _resolved(hint: Any, module: str) -> Any:
    """The annotation itself, where the library gives its name alone."""
    name = hint.__forward_arg__ if isinstance(hint, typing.ForwardRef) else hint
    if not isinstance(name, str):
        return hint
    at, there = _imported(module)[name]
    return getattr(importlib.import_module(at), there)


def _blank(hint: Any, module: str) -> Any:
    hint = _resolved(hint, module)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if types.NoneType in inner else _blank(inner[0], module)
    if origin is typing.Literal:
        return inner[0]
    if origin is list:
        return []
    if origin is stripe.ListObject:
        return {"object": "list", "data": [], "has_more": False, "url": "/"}
    if origin is not None or hint is stripe.StripeObject:
        return {}
    if hint in PLAIN:
        return PLAIN[hint]
    return {name: _blank(each, hint.__module__) for name, each in _fields(hint).items()}


def _object(body: Any, cls: type[Any], *, at: str, inner: bool = False) -> Iterator[str]:
    if not isinstance(body, dict):
        yield f"{at}: {type(body).__name__} and no object"
        return
    fields = _fields(cls)
    yield from (f"{at}.{name}: unknown" for name in body.keys() - fields.keys() - {"object"})
    for name, hint in fields.items():
        value = body.get(name, MISSING)
        # The provider leaves out what does not apply of an inner object, never a field of the object itself.
        if value is not MISSING:
            yield from _value(value, hint, at=f"{at}.{name}", module=cls.__module__)
        elif not (inner and _may_be_null(hint)):
            yield f"{at}.{name}: missing"


def _may_be_null(hint: Any) -> bool:
    return types.NoneType in typing.get_args(hint)


def _value(value: Any, hint: Any, *, at: str, module: str) -> Iterator[str]:
    hint = _resolved(hint, module)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        yield from _one_of(value, inner, at=at, module=module)
    elif origin is typing.Literal:
        if value not in inner:
            yield f"{at}: {value!r} is none of {', '.join(map(repr, inner))}"
    elif origin in (list, stripe.ListObject):
        rows = value.get("data") if origin is stripe.ListObject and isinstance(value, dict) else value
        if not isinstance(rows, list):
            yield f"{at}: {type(value).__name__} and no list"
            return
        for number, each in enumerate(rows):
            yield from _value(each, inner[0], at=f"{at}[{number}]", module=module)
    elif origin is not None or hint is stripe.StripeObject:
        if not isinstance(value, dict):
            yield f"{at}: {type(value).__name__} and no object"
    elif hint in PLAIN:
        if not _is_plain(value, hint):
            yield f"{at}: {value!r} is no {hint.__name__}"
    else:
        yield from _object(value, hint, at=at, inner=not hasattr(hint, "OBJECT_NAME"))


def _one_of(value: Any, hints: tuple[Any, ...], *, at: str, module: str) -> Iterator[str]:
    """An annotation with several possibilities: listed words stand for themselves even where any text is allowed."""
    if value is None and types.NoneType in hints:
        return
    words = [each for each in hints if typing.get_origin(each) is typing.Literal]
    tried = [
        list(_value(value, each, at=at, module=module))
        for each in hints
        if each is not types.NoneType and not (words and each is str)
    ]
    if all(tried):
        yield from min(tried, key=len)


def _is_plain(value: Any, hint: type[Any]) -> bool:
    if hint is Decimal:
        return isinstance(value, str)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint
