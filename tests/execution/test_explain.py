"""`atrium explain`: every step has its statement, nothing is sent or written, and what cannot be explained says why."""

from __future__ import annotations

import pytest
import typer

from base import errors
from cli import explain
from tests.execution.test_library import DASHBOARD

VIDEOS = (
    "{ videos(first: 20) { totalCount nodes { id effect { name } outputFile { name } "
    "aiJobs(first: 2) { nodes { status } } } } }"
)
UNPUBLISH = (
    'mutation { unpublishVideo(id: "Video_1_1") { video { title outputFile { name } } userErrors { message } } }'
)


async def explained(stage, query: str, host: str = "", **variables) -> str:
    return "\n".join(await explain.explained(stage.house, query, host, given=variables))


async def test_plan_sql_and_cost_of_a_tenants_page_are_told_and_nothing_is_sent(stage):
    with stage.sending() as sent:
        told = await explained(stage, VIDEOS, "alice1.localhost")
    # The host itself is looked up.
    assert not any("videos" in statement or "effects" in statement for statement in sent)
    plan, _, rest = told.partition("\n\nSQL\n")
    sql, _, cost = rest.partition("\n\nCOST\n")
    assert "outputFile from output_file_id: joined File" in plan
    assert sql.count("-- pool, videos") == 2, sql
    assert "LEFT OUTER JOIN files AS to_0" in sql
    assert "-- pool, ai_jobs" in sql
    assert "-- central, effects" in sql
    assert cost.splitlines()[-1].endswith(" in all")


async def test_the_code_is_shown_when_asked(stage):
    lines = await explain.explained(stage.house, "{ effects { nodes { name } } }", "", given={}, code=True)
    assert "CODE" in lines
    assert any(line.startswith("def emit(") for line in lines)


async def test_a_mutation_is_explained_without_running_its_action(stage):
    with stage.sending() as sent:
        told = await explained(stage, UNPUBLISH, "alice1.localhost")
    assert not any("videos" in statement for statement in sent)
    assert "call unpublish_video" in told
    assert "FROM videos LEFT OUTER JOIN files" in " ".join(told.split())


async def test_an_id_of_any_type_is_explained_for_all_that_can_be_had_here(stage):
    query = "query ($id: ID!) { node(id: $id) { id ... on Video { title } ... on Effect { name } } }"
    everywhere = await explained(stage, query, id="x")
    assert "-- central, effects" in everywhere
    assert "-- pool, videos" not in everywhere
    assert "-- pool, videos" in await explained(stage, query, "alice1.localhost", id="x")


async def test_what_the_library_answers_and_what_is_no_operation_is_said(stage, capsys):
    assert "The library answers it." in await explained(stage, "{ __schema { types { name } } }")
    for query, host in (("{ nothing }", ""), ("{ effects { nodes { id } } }", "nobody.localhost")):
        with pytest.raises(typer.Exit):
            await explained(stage, query, host)
    assert "nothing" in capsys.readouterr().err
    with pytest.raises(errors.TenantRequired):
        await explained(stage, "{ videos { nodes { id } } }")


async def test_a_dashboard_has_a_statement_for_every_level(stage):
    told = await explained(stage, DASHBOARD, "alice1.localhost", n=5)
    assert told.count("\n-- ") >= 4
