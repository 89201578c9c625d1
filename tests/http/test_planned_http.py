"""Over HTTP a query is answered by its plan, mutations among them, and a refusal by the library."""

from __future__ import annotations

from base import observe


def planned() -> float:
    return observe.REGISTRY.get_sample_value("atrium_operations_total", {"answered_by": "planned"}) or 0.0


async def test_a_query_is_answered_by_its_plan_each_time_with_the_same_words(served):
    query = "query ($n: Int) { categories { name effects(first: $n) { nodes { slug } totalCount } } }"
    before = planned()
    first, *others = [await served.graphql(query, {"n": 2}) for _ in range(3)]
    assert planned() == before + 3
    assert {answer.raw.content for answer in others} == {first.raw.content}
    assert {answer.raw.headers["content-type"] for answer in others} == {first.raw.headers["content-type"]}


async def test_a_planned_mutation_does_what_it_says_once_and_a_refusal_is_a_payload(served):
    mutation = """mutation ($email: String!, $password: String!) {
      register(input: {name: "Ann", email: $email, password: $password, slug: "ann"}) {
        token user { name email tenant { slug } } tenant { slug } userErrors { code field } } }"""
    before = planned()
    given = [{"email": f"ann{at}@example.com", "password": "long-enough-1"} for at in range(3)]
    answers = [await served.graphql(mutation, each) for each in given]
    tokens = [answer.data["register"]["token"] for answer in answers]
    slugs = [answer.data["register"]["user"]["tenant"]["slug"] for answer in answers]
    assert len(set(tokens)) == len(set(slugs)) == 3
    assert slugs == [answer.data["register"]["tenant"]["slug"] for answer in answers]
    again = await served.graphql(mutation, {"email": "ann0@example.com", "password": "another-word-1"})
    assert again.data["register"]["token"] is None
    assert again.data["register"]["userErrors"] == [{"code": "TAKEN", "field": ["input", "email"]}]
    assert planned() == before + 4
