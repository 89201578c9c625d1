"""A story of mutations, told to two worlds: from a file to a published video, webhooks, people, the catalog; with the
refusals on the way. What one step answers the next one uses.
"""

from __future__ import annotations

from typing import Any

from outside.store import Store
from tests.proofs import canaries
from tests.proofs.twins import Twins

WRONG = "userErrors { code message field }"
VIDEO = f"""video {{ __typename id title tags status isPublished updatedAt
    effect {{ id name tokenCost category {{ name }} }} inputFile {{ name url status }}
    aiJobs(first: 2) {{ totalCount nodes {{ id status progress }} }} }} {WRONG}"""
EFFECT = f"""effect {{ id slug name tokenCost isPremium tags {{ slug }} parameters {{ name kind default }}
    category {{ id name effects(first: 3) {{ nodes {{ slug tokenCost }} }} }}
    galleryVideos(first: 2) {{ totalCount }} }} {WRONG}"""
JOB = f"""aiJob {{ id status progress tokensReserved video {{ id title }} effect {{ slug tokenCost }} }}
    wallet {{ balance reserved transactions(first: 3) {{ nodes {{ kind amount aiJob {{ id }} }} }} }} {WRONG}"""
WEBHOOK = f"webhook {{ id url events status createdAt }} {WRONG}"
SIGNED_IN = f"""user {{ name email tenant {{ slug domains }} accessTokens {{ name abilities }} }}
    tenant {{ slug url }} token {WRONG}"""

UPLOAD = f"""mutation ($name: String!, $size: BigInt!) {{
    createUpload(input: {{name: $name, mimeType: "video/mp4", sizeBytes: $size}}) {{
        file {{ id name status url createdAt }} uploadUrl uploadHeaders {WRONG} }} }}"""
COMPLETE = f"""mutation ($id: ID!) {{
    completeUpload(fileId: $id) {{ __typename file {{ ...F }} f: file {{ id }} {WRONG} }} }}
    fragment F on File {{ status sizeBytes url }}"""
CREATE = f"mutation ($in: CreateVideoInput!) {{ createVideo(input: $in) {{ {VIDEO} }} }}"
THREE = f"""mutation ($a: UpdateVideoInput!, $b: UpdateVideoInput!) {{
    a: updateVideo(input: $a) {{ {VIDEO} }}
    b: updateVideo(input: $b) {{ {VIDEO} }}
    claimReward(kind: DAILY) {{ reward {{ kind tokens }} wallet {{ balance }} {WRONG} }} }}"""
SUBMIT = f"""mutation ($v: ID!, $e: ID!) {{
    submitAiJob(input: {{videoId: $v, effectId: $e, idempotencyKey: "k"}}) {{ {JOB} }} }}"""
CANCEL = f"mutation ($id: ID!) {{ cancelAiJob(id: $id) {{ {JOB} }} }}"
PUBLISH = f"""mutation ($id: ID!) {{ publishVideo(id: $id) {{
    galleryVideo {{ id title tags tenantSlug processedFileUrl effect {{ name tokenCost }} }} {WRONG} }} }}"""
WATCH = f"mutation ($id: ID!) {{ recordView(galleryVideoId: $id) {{ galleryVideo {{ title viewCount }} {WRONG} }} }}"
EXPORT = f"""mutation ($id: ID!) {{ createExport(input: {{videoId: $id, format: WEBM, width: 640}}) {{
    export {{ id status format video {{ title }} }} {WRONG} }} }}"""
UNPUBLISH = f"mutation ($id: ID!) {{ unpublishVideo(id: $id) {{ {VIDEO} }} }}"
DELETE_VIDEO = f"mutation ($id: ID!) {{ deleteVideo(id: $id) {{ deletedId {WRONG} }} }}"
DELETE_FILE = f"mutation ($id: ID!) {{ deleteFile(id: $id) {{ deletedId {WRONG} }} }}"

HOOK = f"""mutation ($url: String!) {{
    createWebhook(input: {{url: $url, events: ["video.published"]}}) {{ secret {WEBHOOK} }} }}"""
HOOKS_LIFE = (
    f'updateWebhook(input: {{id: $id, url: "https://hooks.example.com/c"}}) {{ {WEBHOOK} }}',
    f"rotateWebhookSecret(id: $id) {{ secret {WEBHOOK} }}",
    f"testWebhook(id: $id) {{ __typename {WRONG} }}",
    f"deleteWebhook(id: $id) {{ deletedId {WRONG} }}",
    f"deleteWebhook(id: $id) {{ deletedId {WRONG} }}",
)

REGISTER = f"mutation ($in: RegisterInput!) {{ register(input: $in) {{ {SIGNED_IN} }} }}"
LOGIN = f"mutation ($in: LoginInput!) {{ login(input: $in) {{ {SIGNED_IN} }} }}"
CHANGE = f"mutation ($in: ChangePasswordInput!) {{ changePassword(input: $in) {{ {SIGNED_IN} }} }}"
FORGET = f'mutation {{ requestPasswordReset(email: "carol@example.com") {{ ok {WRONG} }} }}'

CATEGORY = f"""mutation {{ createCategory(input: {{slug: "new", name: "New"}}) {{
    category {{ id slug name position }} {WRONG} }} }}"""
TAG = f'mutation {{ createTag(input: {{slug: "fresh", name: "Fresh"}}) {{ tag {{ id slug }} {WRONG} }} }}'
NEW_EFFECT = f"mutation ($in: CreateEffectInput!) {{ createEffect(input: $in) {{ {EFFECT} }} }}"
CHANGE_EFFECT = f"""mutation ($id: ID!) {{
    a: updateEffect(input: {{id: $id, name: "Renamed", tokenCost: 4}}) {{ {EFFECT} }}
    b: archiveEffect(id: $id) {{ {EFFECT} }} }}"""


def at(told: Any, *path: str) -> Any:
    """What stands there in the data; for what is not there an id that leads nowhere."""
    for part in ("data", *path):
        told = told.get(part) if isinstance(told, dict) else None
    return "Nothing_1" if told is None else told


async def a_file(pair: Twins) -> str:
    """Uploaded as far as that went: its id."""
    size = len(canaries.BYTES)
    told = await pair.run("alice", UPLOAD, name="holiday.mp4", size=size)
    await pair.run("alice", UPLOAD, name="", size=size)
    await pair.run("alice", UPLOAD, name="a.mp4", size="many")
    await pair.run("visitor", UPLOAD, name="a.mp4", size=size)
    file: str = at(told, "createUpload", "file", "id")
    await pair.run("alice", COMPLETE, id=file)
    key = at(told, "createUpload", "uploadUrl").partition("/uploads/")[2].partition("?")[0]
    for twin in (pair.mine, pair.theirs) if key else ():
        await twin.world.house.service(Store).put_bytes(key, canaries.BYTES, mime_type="video/mp4")
    for who in ("alice", "alice", "mary", "bob"):
        await pair.run(who, COMPLETE, id=file)
    return file


async def videos(pair: Twins) -> None:
    """From a file to what is shown of its video, with a refusal at each step."""
    file = await a_file(pair)
    effects = [each for each in pair.mine.three.shelf if each.startswith("Effect_")]
    told = await pair.run("alice", CREATE, **{"in": {"title": "Mine", "inputFileId": file, "effectId": effects[0]}})
    for wrong in ({"title": ""}, {"tags": ["a"] * 30}, {"inputFileId": "x"}, {"inputFileId": None}):
        await pair.run("alice", CREATE, **{"in": {"title": "Mine", "inputFileId": file, **wrong}})
    video = at(told, "createVideo", "video", "id")
    ids = [each for each in pair.mine.three.alice.node_ids() if each.startswith("Video_")]
    for one, other in ((video, ids[0]), (ids[1], "Video_1"), ("x", ids[2]), (ids[3], ids[3])):
        await pair.run("alice", THREE, a={"id": one, "title": "New"}, b={"id": other, "tags": ["night", "city"]})
    for each in (*ids, video):
        for effect in effects[:2]:
            told = await pair.run("alice", SUBMIT, v=each, e=effect)
            await pair.run("alice", CANCEL, id=at(told, "submitAiJob", "aiJob", "id"))
        told = await pair.run("alice", PUBLISH, id=each)
        await pair.run("visitor", WATCH, id=at(told, "publishVideo", "galleryVideo", "id"))
        await pair.run("alice", EXPORT, id=each)
        await pair.run("alice", UNPUBLISH, id=each)
    for each in (video, ids[0], ids[0], "x"):
        await pair.run("alice", DELETE_VIDEO, id=each)
    await pair.run("alice", DELETE_FILE, id=file)


async def hooks(pair: Twins) -> None:
    """A webhook's life."""
    told = await pair.run("alice", HOOK, url="https://hooks.example.com/a")
    await pair.run("alice", HOOK, url="http://127.0.0.1/a")
    await pair.run("mary", HOOK, url="https://hooks.example.com/b")
    for step in HOOKS_LIFE:
        await pair.run("alice", f"mutation ($id: ID!) {{ {step} }}", id=at(told, "createWebhook", "webhook", "id"))


async def people(pair: Twins) -> None:
    """Signing up and in; who has just signed in reads as themselves."""
    good = {"name": "Carol", "email": "carol@example.com", "password": "a long enough password", "slug": "carol"}
    for given in (good, good, {**good, "email": "no"}, {**good, "password": "short", "email": "d@example.com"}):
        await pair.run("visitor", REGISTER, **{"in": given})
    for password in (good["password"], "another password"):
        await pair.run("visitor", LOGIN, **{"in": {"email": good["email"], "password": password}})
    await pair.run("mary", CHANGE, **{"in": {"current": "wrong", "password": "a long enough password"}})
    await pair.run("visitor", FORGET)


async def shelves(pair: Twins) -> None:
    """The catalog is written by staff alone."""
    for who in ("alice", "visitor", "sam", "sam"):
        await pair.run(who, CATEGORY)
    shelf = pair.mine.three.shelf
    tag = await pair.run("sam", TAG)
    given = {
        "slug": "glow",
        "name": "Glow",
        "tokenCost": 3,
        "algorithmId": next(each for each in shelf if each.startswith("Algorithm_")),
        "categoryId": next(each for each in shelf if each.startswith("Category_")),
        "tagIds": [at(tag, "createTag", "tag", "id")],
    }
    told = await pair.run("sam", NEW_EFFECT, **{"in": given})
    for wrong in ({}, {"slug": "UP"}, {"tokenCost": -1, "slug": "a"}, {"algorithmId": "x", "slug": "b"}):
        await pair.run("sam", NEW_EFFECT, **{"in": {**given, **wrong}})
    effects = [each for each in shelf if each.startswith("Effect_")]
    for each in (at(told, "createEffect", "effect", "id"), *effects):
        await pair.run("sam", CHANGE_EFFECT, id=each)


async def told(pair: Twins) -> None:
    """All of it, the rows compared after each part."""
    for part in (videos, hooks, people, shelves):
        await part(pair)
        await pair.check_rows()
