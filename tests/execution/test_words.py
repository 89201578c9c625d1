"""The edges of the declarations: who may, what an argument may be, what a scalar takes and gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Annotated

import pytest

from base import errors
from base.ids import GlobalId, Id
from db.tables.central import catalog
from db.tables.pool import media
from execution import access, calls, declare, hints, scalars, types
from execution.declare import NodeInfo, to_one
from tenancy.viewer import Viewer


def asking(*, tenant=None, viewer=None, is_worker=False):
    route = None if tenant is None else SimpleNamespace(tenant_id=tenant)
    return SimpleNamespace(route=route, viewer=viewer, is_worker=is_worker)


def viewer(*abilities, tenant="alice1", is_staff=False, is_member=True, is_owner=False):
    return Viewer(Id(1), tenant, Id(2), frozenset(abilities or {"*"}), is_staff, is_member, is_owner=is_owner)


@pytest.mark.parametrize(
    ("wanted", "ctx", "refused"),
    [
        (access.public, asking(), None),
        (access.signed_in, asking(), errors.Unauthenticated),
        (access.signed_in, asking(viewer=viewer()), None),
        (access.member, asking(viewer=viewer()), errors.TenantRequired),
        (access.member, asking(tenant="alice1"), errors.Unauthenticated),
        (access.member, asking(tenant="bob2", viewer=viewer()), errors.Unauthenticated),
        (access.member, asking(tenant="alice1", viewer=viewer(is_member=False)), errors.Unauthenticated),
        (access.member, asking(tenant="alice1", viewer=viewer()), None),
        (access.member.asking("write"), asking(tenant="alice1", viewer=viewer("read")), errors.Forbidden),
        (access.member.asking("read"), asking(tenant="alice1", viewer=viewer("read")), None),
        (access.owner, asking(viewer=viewer(is_owner=True)), errors.TenantRequired),
        (access.owner, asking(tenant="alice1"), errors.Unauthenticated),
        (access.owner, asking(tenant="bob2", viewer=viewer(is_owner=True)), errors.Unauthenticated),
        (access.owner, asking(tenant="alice1", viewer=viewer()), errors.Forbidden),
        (access.owner, asking(tenant="alice1", viewer=viewer(is_owner=True, is_member=False)), errors.Unauthenticated),
        (access.owner, asking(tenant="alice1", viewer=viewer(is_owner=True)), None),
        (access.owner.asking("read"), asking(tenant="alice1", viewer=viewer("write", is_owner=True)), errors.Forbidden),
        (access.permission("catalog:write"), asking(viewer=viewer()), errors.Forbidden),
        (access.permission("catalog:write"), asking(viewer=viewer(is_staff=True)), None),
        (access.permission("catalog:write"), asking(viewer=viewer("write", is_staff=True)), errors.Forbidden),
        (access.worker, asking(viewer=viewer(is_staff=True)), errors.Unauthenticated),
        (access.worker, asking(is_worker=True), None),
        (access.worker, asking(tenant="alice1", is_worker=True), errors.Forbidden),
        (access.lease, asking(), None),
        (access.lease, asking(is_worker=True), None),
        (access.lease, asking(tenant="alice1", is_worker=True), errors.Forbidden),
    ],
)
def test_whoever_may_not_is_told_why(wanted, ctx, refused):
    if refused is None:
        access.check(ctx, wanted)
    else:
        with pytest.raises(refused):
            access.check(ctx, wanted)


def test_an_ability_that_is_named_is_not_replaced_and_visitors_need_none():
    assert access.permission("catalog:write").asking("write").ability == "catalog:write"
    assert access.public.asking("write").ability is None
    assert access.worker.asking("write").ability is None


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "ok \udfff"])
def test_a_text_that_no_engine_stores_is_refused_by_name(text):
    with pytest.raises(errors.BadUserInput, match=r"input\.title"):
        calls.prepared(text, str, path=("input", "title"), here=None)
    with pytest.raises(errors.BadUserInput, match=r"input\.params\.deep\.0"):
        calls.prepared({"deep": [text]}, object, path=("input", "params"), here=None)


def test_an_argument_nested_without_end_is_refused():
    value: object = "x"
    for _ in range(50):
        value = [value]
    with pytest.raises(errors.BadUserInput, match="nested"):
        calls.prepared(value, object, path=("params",), here=None)


def test_an_id_knows_where_it_was_used():
    made = calls.prepared(["Video_616c69636531_1"], list[GlobalId], path=("ids",), here="alice1")
    assert (made[0].here, made[0].path) == ("alice1", ("ids", "0"))
    assert made[0].of(media.Video) == 1
    with pytest.raises(errors.NotFound) as told:
        made[0].of(media.File)
    assert told.value.field == ("ids", "0")


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00.000Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 123_999, tzinfo=UTC), "2026-01-31T12:00:00.123Z"),
        (datetime(2026, 1, 31, 1, tzinfo=timezone(timedelta(hours=2))), "2026-01-30T23:00:00.000Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_milliseconds(moment, written):
    assert scalars.write_date_time(moment) == written


@pytest.mark.parametrize(
    "text", ["2026-01-31", "2026-01-31T12:00:00", "yesterday", 5, None, "9" * 100, "0001-01-01T00:00:00+14:00"]
)
def test_a_moment_without_zone_or_sense_is_refused(text):
    with pytest.raises(ValueError, match="RFC 3339"):
        scalars.read_date_time(text)


@pytest.mark.parametrize(
    ("given", "taken"),
    [(5, 5), ("9223372036854775807", 2**63 - 1), (2**63 - 1, 2**63 - 1), (-3, -3), ("-3", -3), (7.0, 7)],
)
def test_a_big_whole_number_is_taken_as_number_or_digits(given, taken):
    assert scalars.read_big_int(given) == taken


@pytest.mark.parametrize(
    "given", [2**63, "9223372036854775808", 1.5, "1.0", "١", " 1", "", True, None, [], float("inf"), "9" * 4_301]
)
def test_what_is_no_big_whole_number_is_refused(given):
    with pytest.raises(ValueError, match="BigInt"):
        scalars.read_big_int(given)


def test_a_root_field_without_access_is_refused_at_import():
    with pytest.raises(TypeError):
        declare.query()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="who may use it"):
        declare.mutation("member")  # type: ignore[arg-type]


@pytest.fixture
def nodes(monkeypatch):
    """Two declared nodes, one in each zone, and nothing else."""
    category = type("Category", (), {})
    info = NodeInfo("Category", category, catalog.Category, access.public)
    monkeypatch.setattr(types, "NODES", {"Category": info})
    return category, NodeInfo("Video", type("Video", (), {}), media.Video, access.member)


def test_a_relation_whose_key_is_no_column_is_refused(nodes):
    category, video = nodes
    with pytest.raises(TypeError, match=r"Video\.shelf: Video has no column category_id"):
        types._field(video, "shelf", hints.read(Annotated[category | None, to_one("category_id")]))


def test_a_relation_that_crosses_to_central_must_be_nullable(nodes):
    category, video = nodes
    with pytest.raises(TypeError, match="make it"):
        types._field(video, "effect", hints.read(Annotated[category, to_one("effect_id")]))


def test_a_relation_to_what_is_no_node_is_refused(nodes):
    _, video = nodes
    with pytest.raises(TypeError, match="is no node"):
        types._field(video, "effect", hints.read(Annotated[int | None, to_one("effect_id")]))


def test_a_field_that_is_no_column_is_refused(nodes):
    _, video = nodes
    with pytest.raises(TypeError, match=r"Video\.colour: Video has no column colour"):
        types._field(video, "colour", hints.read(str))
