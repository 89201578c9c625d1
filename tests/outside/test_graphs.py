"""Effects' parameters and graphs: nothing that a person or the catalog writes reaches ffmpeg as words of a graph."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from outside import ffmpeg, filters, graphs
from outside.builtin_effects import BUILTIN_EFFECTS
from outside.filters import FILTERS, Frame
from outside.graphs import InvalidGraph, InvalidParameter, Picture
from outside.renders import Effect
from tests.outside.hostile import CANARY, INJECTIONS

WRONG_NUMBERS: tuple[object, ...] = ("3", True, None, [], {}, math.nan, math.inf, -math.inf, -0.001, 10.001, 1e300)
FRAME = Frame(320, 180, 2.0)
STRENGTH: dict[str, object] = {"name": "strength", "kind": "number", "minimum": 0, "maximum": 10, "default": 3}
DECLARED = [
    STRENGTH,
    {"name": "look", "kind": "enum", "choices": ["vintage", "negative"], "default": "vintage"},
    {"name": "ink", "kind": "colour", "default": "#ffffff"},
    {"name": "words", "kind": "text", "default": "hello", "text_length_max": 300},
]
SPEC = [
    {"filter": "gblur", "options": {"sigma": "{strength}"}},
    {"filter": "curves", "options": {"preset": "{look}"}},
    {"filter": "drawtext", "options": {"text": "{words}", "color": "{ink}", "position": "center"}},
]


def build(given: object = None, spec: object = SPEC, **more):
    return graphs.build_graph(
        spec, graphs.parse_parameters(DECLARED), given=given, frame=FRAME, has_audio=more.pop("has_audio", True), **more
    )


def test_a_graph_is_built_of_formatted_values_alone():
    graph = build({"strength": 2.5, "look": "negative", "ink": "#1a2b3c", "words": "It's 100 %"})
    assert graph.filter_complex == (
        "[0:v:0]scale=w=320:h=180,setsar=1,gblur=sigma=2.5,curves=preset=negative,"
        "drawtext=fontfile=font.ttf:textfile=text2.txt:expansion=none:fontsize=14:fontcolor=0x1a2b3c:"
        "x=(w-text_w)/2:y=(h-text_h)/2[v0];[v0]format=yuv420p[v];[0:a:0]anull[a]"
    )
    assert graph.texts == {"text2.txt": "It's 100 %"}


def test_a_number_of_hundreds_of_digits_is_refused_like_any_that_is_too_large():
    # A document may hold one; it fits no float, and no JSON of 64-bit numbers.
    with pytest.raises(InvalidParameter):
        graphs.check_params(graphs.parse_parameters(DECLARED), {"strength": 10**350})
    for bound in (10**350, 2**70):
        with pytest.raises(InvalidGraph):
            graphs.parse_parameters([{**STRENGTH, "maximum": bound}])


def test_what_is_not_given_has_its_default():
    parameters = graphs.parse_parameters(DECLARED)
    defaults = {"strength": 3, "look": "vintage", "ink": "#ffffff", "words": "hello"}
    assert graphs.check_params(parameters, None) == graphs.check_params(parameters, {}) == defaults


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("strength", value) for value in WRONG_NUMBERS),
        *(("look", value) for value in ("sepia", "", 0, None, ["vintage"], "vintage ", "{look}")),
        *(("ink", value) for value in ("white", "#fff", "#ffffff00", "#gggggg", "0xffffff", "#ffffff\n", 0, None)),
        *(("words", value) for value in ("x" * 301, "a\0b", "a\x1b[0m", "\ud800", 5, None, ["x"])),
        ("unknown", 1),
        ("STRENGTH", 1),
        ("", 1),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(name, value):
    with pytest.raises(InvalidParameter) as refused:
        build({name: value})
    assert refused.value.name == name


@pytest.mark.parametrize("given", [[], "x", 1, True])
def test_params_that_are_no_object_are_refused(given):
    with pytest.raises(InvalidParameter):
        build(given)


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("name", ["strength", "look", "ink"])
def test_no_injection_passes_a_number_an_enum_or_a_colour(name, text):
    with pytest.raises(InvalidParameter) as refused:
        build({name: text})
    assert refused.value.name == name


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_goes_into_its_file_and_nowhere_else(text):
    told, plain = build({"words": text}), build({"words": "x"})
    assert told.texts == {"text2.txt": text}
    assert told.filter_complex == plain.filter_complex


@pytest.mark.parametrize("text", INJECTIONS)
async def test_hostile_text_is_drawn_and_reads_and_writes_nothing(tmp_path, ffmpeg_path, video, text):
    folder = tmp_path / "job"
    folder.mkdir()
    canary = tmp_path / "hostname"
    canary.write_bytes(CANARY)
    work = Effect(
        SPEC, graphs.parse_parameters(DECLARED), {"strength": 0, "words": text.replace("/etc/hostname", str(canary))}
    )
    done = await ffmpeg.run(ffmpeg.Render(ffmpeg=ffmpeg_path, source=video, folder=folder, work=work))
    assert {path.name for path in folder.iterdir()} == {"font.ttf", "text2.txt", "out.mp4"}
    assert {path.name for path in tmp_path.iterdir()} == {"job", "hostname"}
    assert CANARY not in done.path.read_bytes()
    assert canary.read_bytes() == CANARY


async def test_a_drawn_percent_is_a_percent_and_no_expansion(tmp_path, ffmpeg_path, video):
    """Were %{…} expanded, a text of another name with the same value would draw the same."""
    made = []
    for name, text in (("one", "%{eif:1:d}"), ("two", "1")):
        (tmp_path / name).mkdir()
        work = Effect(SPEC, graphs.parse_parameters(DECLARED), {"words": text})
        job = ffmpeg.Render(ffmpeg=ffmpeg_path, source=video, folder=tmp_path / name, work=work)
        made.append((await ffmpeg.run(job)).path.read_bytes())
    assert made[0] != made[1]


@pytest.mark.parametrize(
    "name",
    ["movie", "amovie", "metadata", "ametadata", "subtitles", "ass", "lut3d", "lut1d", "sendcmd", "zmq", "drawgraph",
     "reverse", "areverse", "loop", "frei0r", "ladspa", "signature", "vidstabdetect", "psnr", "concat", "scale2ref",
     "gblur=sigma=1,movie", "gblur[v];movie", "", None, 1, ["gblur"]],
)  # fmt: skip
def test_a_filter_that_is_not_listed_is_refused(name):
    with pytest.raises(InvalidGraph) as refused:
        graphs.check_graph([{"filter": "hflip"}, {"filter": name}], ())
    assert refused.value.place == "graph[1].filter"


@pytest.mark.parametrize(
    "option", ["textfile", "fontfile", "file", "filename", "psfile", "enable", "eval", "x:y", "", "sigma="]
)
@pytest.mark.parametrize("name", ["gblur", "drawtext", "curves", "eq"])
def test_an_option_that_is_not_listed_is_refused(name, option):
    options = {"text": "a", option: "1"} if name == "drawtext" else {option: "1"}
    with pytest.raises(InvalidGraph, match="takes no such option"):
        graphs.check_graph([{"filter": name, "options": options}], ())


@pytest.mark.parametrize("text", INJECTIONS)
def test_the_catalogs_own_literals_pass_the_same_check(text):
    for name, one in FILTERS.items():
        for option, kind in one.options.items():
            if isinstance(kind, filters.Text):
                continue
            sound = {key: _sound(other) for key, other in one.options.items() if key in one.needed}
            with pytest.raises(InvalidGraph) as refused:
                graphs.check_graph([{"filter": name, "options": sound | {option: text}}], ())
            assert refused.value.place == f"graph[0].options.{option}"


def _sound(option: object) -> object:
    if isinstance(option, filters.Number):
        return option.low
    return next(iter(option.words)) if isinstance(option, filters.Choice) else "a"


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ([{"filter": "gblur", "options": {"sigma": "{missing}"}}], "graph[0].options.sigma"),
        ([{"filter": "gblur", "options": {"sigma": "{look}"}}], "graph[0].options.sigma"),
        ([{"filter": "gblur", "options": {"sigma": "{strength}", "steps": "{strength}"}}], "graph[0].options.steps"),
        ([{"filter": "pixelize", "options": {"size": "{strength}"}}], "graph[0].options.size"),
        ([{"filter": "transpose", "options": {"dir": "{look}"}}], "graph[0].options.dir"),
        ([{"filter": "fade", "options": {"direction": "in"}}], "graph[0].options"),
        ([{"filter": "hflip", "extra": 1}], "graph[0]"),
        ([{"filter": "hflip"}], "parameters"),
        ([{"filter": "hflip"}] * 25, "graph"),
        ({"filter": "hflip"}, "graph"),
        (None, "graph"),
        (["hflip"], "graph[0]"),
    ],
)
def test_a_wrong_spec_is_refused_by_its_place(spec, place):
    with pytest.raises(InvalidGraph) as refused:
        build(None, spec)
    assert refused.value.place == place


@pytest.mark.parametrize(
    ("declared", "place"),
    [
        ({"name": "x", "kind": "file", "default": ""}, "parameters[0].kind"),
        ({"name": "X y", "kind": "text", "default": ""}, "parameters[0].name"),
        ({"name": "x", "kind": "number", "default": 1}, "parameters[0]"),
        ({"name": "x", "kind": "number", "minimum": 2, "maximum": 1, "default": 1}, "parameters[0]"),
        ({"name": "x", "kind": "number", "minimum": 0, "maximum": 1, "default": 5}, "parameters[0].default"),
        ({"name": "x", "kind": "enum", "choices": [], "default": "a"}, "parameters[0].choices"),
        ({"name": "x", "kind": "text", "default": "abc", "text_length_max": 2}, "parameters[0].default"),
        ({"name": "x", "kind": "text", "default": "", "text_length_max": True}, "parameters[0].text_length_max"),
        ({"name": "x", "kind": "text", "default": "", "expression": "1"}, "parameters[0]"),
        ({"name": "x", "kind": ["text"], "default": ""}, "parameters[0].kind"),
        ("x", "parameters[0]"),
    ],
)
def test_a_wrong_declaration_is_refused_by_its_place(declared, place):
    with pytest.raises(InvalidGraph) as refused:
        graphs.parse_parameters([declared])
    assert refused.value.place == place


def test_one_name_is_declared_once():
    with pytest.raises(InvalidGraph):
        graphs.parse_parameters([DECLARED[0], DECLARED[0]])


def test_every_builtin_effect_passes_the_check_and_there_are_enough():
    slugs = {effect.slug for effect in BUILTIN_EFFECTS}
    assert len(slugs) == len(BUILTIN_EFFECTS) >= 10
    for effect in BUILTIN_EFFECTS:
        graphs.check_graph(list(effect.graph), graphs.parse_parameters(list(effect.parameters)))


def test_speed_and_fade_follow_the_length_that_came_before(tmp_path):
    spec = [
        {"filter": "speed", "options": {"factor": 0.25}},
        {"filter": "fade", "options": {"direction": "out", "seconds": 1}},
    ]
    graph = graphs.build_graph(spec, (), frame=FRAME, has_audio=True)
    assert graph.frame.seconds == 8
    assert "setpts=PTS/0.25,fade=t=out:st=7:d=1" in graph.filter_complex
    assert "[0:a:0]atempo=0.5,atempo=0.5,afade=t=out:st=7:d=1[a]" in graph.filter_complex


def test_pictures_lie_where_they_were_put(tmp_path):
    graph = build(has_audio=False, pictures=[Picture(tmp_path / "a.png", "fill", opacity=0.25)])
    assert graph.filter_complex.endswith(
        "[1:v]scale=w=320:h=180,format=rgba,colorchannelmixer=aa=0.25[p0];[v0][p0]overlay=x=0:y=0[v1];"
        "[v1]format=yuv420p[v]"
    )
    assert graph.pictures == (tmp_path / "a.png",)


@pytest.mark.parametrize("opacity", [-0.1, 1.1, math.nan])
def test_a_pictures_opacity_is_a_share(tmp_path, opacity):
    with pytest.raises(InvalidGraph):
        build(pictures=[replace(Picture(tmp_path / "a.png"), opacity=opacity)])
