"""An effect's declared parameters, and the filter graph made of them and of the catalog's spec.

A spec is the JSON of `effects.graph`: a list of {"filter": name, "options": {option: literal or "{parameter}"}}.
What a filter may be told stands in filters.py; this file checks and joins, and never passes a caller's text on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeGuard, get_args

from outside import filters
from outside.filters import Choice, Colour, Frame, Number, Option, Text

Kind = Literal["number", "enum", "colour", "text"]
Position = Literal["top-left", "top-right", "bottom-left", "bottom-right", "center", "fill"]
Value = float | str
Params = Mapping[str, Value]

PARAMETERS_MAX = 16
CHOICES_MAX = 50
FILTERS_MAX = 24
PICTURES_MAX = 2
NUMBER_MAX = 2**53
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")
_KINDS: tuple[Kind, ...] = get_args(Kind)
_KEYS = {"name", "kind", "default", "minimum", "maximum", "choices", "text_length_max"}
_CORNERS = {
    "top-left": "x=W*0.03:y=H*0.03",
    "top-right": "x=W*0.97-w:y=H*0.03",
    "bottom-left": "x=W*0.03:y=H*0.97-h",
    "bottom-right": "x=W*0.97-w:y=H*0.97-h",
    "center": "x=(W-w)/2:y=(H-h)/2",
    "fill": "x=0:y=0",
}


class InvalidParameter(Exception):
    """`name` is the parameter (empty: the params as a whole), `message` a sentence; the field is `params.<name>`."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name or 'params'}: {message}")
        self.name = name
        self.message = message


class InvalidGraph(Exception):
    """The catalog's own spec is wrong; `place` is where, like `graph[2].options.sigma` or `parameters[0].kind`."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message


@dataclass(frozen=True)
class Parameter:
    name: str
    kind: Kind
    default: Value
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    text_length_max: int = 0


@dataclass(frozen=True)
class Picture:
    """A still put over the video. `width` is its share of the video's width (no matter where it fills)."""

    path: Path
    position: Position = "bottom-right"
    opacity: float = 1.0
    width: float = 0.2


@dataclass(frozen=True)
class Graph:
    """`filter_complex` ends in [v], and in [a] where `has_audio`; `texts` are the files its folder must hold."""

    filter_complex: str
    has_audio: bool
    frame: Frame
    texts: Mapping[str, str]
    pictures: tuple[Path, ...]


def parse_parameters(spec: object) -> tuple[Parameter, ...]:
    """Read the declaration stored with an effect. Raises InvalidGraph naming the place."""
    if not isinstance(spec, list) or len(spec) > PARAMETERS_MAX:
        raise InvalidGraph("parameters", f"must be a list of at most {PARAMETERS_MAX}.")
    parsed = tuple(_parse_one(item, f"parameters[{index}]") for index, item in enumerate(spec))
    if len({parameter.name for parameter in parsed}) != len(parsed):
        raise InvalidGraph("parameters", "has a name twice.")
    return parsed


def _parse_one(item: object, place: str) -> Parameter:
    if not isinstance(item, dict) or not set(item) <= _KEYS:
        raise InvalidGraph(place, f"must be an object of {', '.join(sorted(_KEYS))}.")
    name, default = item.get("name"), item.get("default")
    kind = next((known for known in _KINDS if known == item.get("kind")), None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidGraph(f"{place}.name", "must be a lower-case word.")
    if kind is None:
        raise InvalidGraph(f"{place}.kind", f"must be one of {', '.join(_KINDS)}.")
    low, high = item.get("minimum"), item.get("maximum")
    if kind == "number" and not (_finite(low) and _finite(high) and low <= high):
        raise InvalidGraph(place, "a number needs minimum and maximum.")
    choices = item.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise InvalidGraph(f"{place}.choices", "must be a list of words.")
    if kind == "enum" and not 1 <= len(choices) <= CHOICES_MAX:
        raise InvalidGraph(f"{place}.choices", f"an enum needs 1 to {CHOICES_MAX}.")
    length = item.get("text_length_max", filters.TEXT_CHARACTERS_MAX if kind == "text" else 0)
    if type(length) is not int or not 0 <= length <= filters.TEXT_CHARACTERS_MAX:
        raise InvalidGraph(f"{place}.text_length_max", f"must be 0 to {filters.TEXT_CHARACTERS_MAX}.")
    declared = Parameter(name, kind, "", minimum=low, maximum=high, choices=tuple(choices), text_length_max=length)
    try:
        checked = _check_one(declared, default)
    except InvalidParameter as refused:
        raise InvalidGraph(f"{place}.default", refused.message) from None
    return Parameter(name, kind, checked, minimum=low, maximum=high, choices=tuple(choices), text_length_max=length)


def check_params(parameters: Sequence[Parameter], given: object) -> dict[str, Value]:
    """Every parameter with its value, given or default. Raises InvalidParameter; changes nothing it is given."""
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise InvalidParameter("", "must be an object.")
    known = {parameter.name for parameter in parameters}
    for name in given:
        if name not in known:
            raise InvalidParameter(str(name)[:40], "this effect has no such parameter.")
    return {
        parameter.name: _check_one(parameter, given[parameter.name]) if parameter.name in given else parameter.default
        for parameter in parameters
    }


def _check_one(parameter: Parameter, value: object) -> Value:
    def refuse(message: str) -> InvalidParameter:
        return InvalidParameter(parameter.name, message)

    if parameter.kind == "number":
        low, high = parameter.minimum, parameter.maximum
        if not _finite(value) or low is None or high is None:
            raise refuse("must be a number.")
        if not low <= value <= high:
            raise refuse(f"must be between {filters.number(low)} and {filters.number(high)}.")
        return value
    if not isinstance(value, str):
        raise refuse("must be a string.")
    if parameter.kind == "enum" and value not in parameter.choices:
        raise refuse(f"must be one of {', '.join(parameter.choices)}.")
    if parameter.kind == "colour" and not _COLOUR.fullmatch(value):
        raise refuse("must be a colour like #1a2b3c.")
    if parameter.kind == "text":
        if len(value) > parameter.text_length_max:
            raise refuse(f"must have at most {parameter.text_length_max} characters.")
        if any((c < " " and c != "\n") or "\ud800" <= c <= "\udfff" or c == "\x7f" for c in value):
            raise refuse("must not hold control characters.")
    return value


def _finite(value: object) -> TypeGuard[float]:
    # bool is an int to Python and no number to us. A document's whole number may have hundreds of digits: beyond this
    # one it fits no float, no column and no provider's JSON.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= NUMBER_MAX


def check_graph(spec: object, parameters: Sequence[Parameter]) -> None:
    """Refuse a spec that could ever, with any allowed params, say what the white list does not. Raises InvalidGraph."""
    if not isinstance(spec, list) or len(spec) > FILTERS_MAX:
        raise InvalidGraph("graph", f"must be a list of at most {FILTERS_MAX} filters.")
    by_name = {parameter.name: parameter for parameter in parameters}
    used: set[str] = set()
    for index, step in enumerate(spec):
        place = f"graph[{index}]"
        if not isinstance(step, dict) or not set(step) <= {"filter", "options"}:
            raise InvalidGraph(place, "must be an object of filter and options.")
        name, options = step.get("filter"), step.get("options", {})
        if not isinstance(name, str) or name not in filters.FILTERS:
            raise InvalidGraph(f"{place}.filter", "is no filter of the list.")
        allowed = filters.FILTERS[name]
        if not isinstance(options, dict) or not allowed.needed <= set(options):
            raise InvalidGraph(f"{place}.options", f"needs {', '.join(sorted(allowed.needed)) or 'an object'}.")
        for key, value in options.items():
            where = f"{place}.options.{str(key)[:40]}"
            if key not in allowed.options:
                raise InvalidGraph(where, f"{name} takes no such option.")
            used |= _check_option(allowed.options[key], value, by_name=by_name, place=where)
    if unused := set(by_name) - used:
        raise InvalidGraph("parameters", f"{', '.join(sorted(unused))} is used nowhere in the graph.")


def _check_option(option: Option, value: object, *, by_name: Mapping[str, Parameter], place: str) -> set[str]:
    """The parameters this option uses. A parameter's whole range must lie within the option's."""
    parameter = _placeholder(value, by_name)
    if parameter is None:
        if isinstance(value, str) and _PLACEHOLDER.fullmatch(value) and not isinstance(option, Text):
            raise InvalidGraph(place, f"{value} is no parameter of this effect.")
        _formatted(option, value, place=place)
        return set()
    kinds = {Number: "number", Choice: "enum", Colour: "colour", Text: "text"}
    if parameter.kind != kinds[type(option)]:
        raise InvalidGraph(place, f"takes a parameter of kind {kinds[type(option)]}.")
    extremes: tuple[object, ...] = (parameter.default,)
    if parameter.kind == "number":
        extremes = (parameter.minimum, parameter.maximum)
    elif parameter.kind == "enum":
        extremes = parameter.choices
    for extreme in extremes:
        _formatted(option, extreme, place=place)
    return {parameter.name}


def _placeholder(value: object, by_name: Mapping[str, Parameter]) -> Parameter | None:
    found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return by_name.get(found[1]) if found else None


def _formatted(option: Option, value: object, *, place: str) -> str:
    """What ffmpeg is told for the value; for text the text itself, which goes into a file."""
    if isinstance(option, Number):
        if not _finite(value) or not option.low <= value <= option.high:
            raise InvalidGraph(place, f"must be a number from {option.low} to {option.high}.")
        return filters.number(round(value) if option.whole else value)
    if not isinstance(value, str):
        raise InvalidGraph(place, "must be a string.")
    if isinstance(option, Choice):
        if value not in option.words:
            raise InvalidGraph(place, f"must be one of {', '.join(option.words)}.")
        return option.words[value]
    if isinstance(option, Colour):
        if not _COLOUR.fullmatch(value):
            raise InvalidGraph(place, "must be a colour like #1a2b3c.")
        return "0x" + value[1:]
    if len(value) > filters.TEXT_CHARACTERS_MAX:
        raise InvalidGraph(place, "is too long.")
    return value


def build_graph(
    spec: object,
    parameters: Sequence[Parameter],
    *,
    frame: Frame,
    has_audio: bool,
    given: object = None,
    pictures: Sequence[Picture] = (),
) -> Graph:
    """The graph for one video of `frame`'s size and length; [0:…] is the video, [1:v]… are the pictures.

    Raises InvalidGraph or InvalidParameter: a stored spec is checked again here, whoever stored it.
    """
    check_graph(spec, parameters)
    values = check_params(parameters, given)
    width, height = filters.fitted(frame.width, frame.height)
    now = Frame(width, height, frame.seconds)
    # Fixed here, so that every size that follows is known: a stream may change its size midway.
    video, audio = [f"scale=w={width}:h={height}", "setsar=1"], []
    texts: dict[str, str] = {}
    for index, step in enumerate(spec if isinstance(spec, list) else []):
        drawn = _draw(step, values, texts=texts, index=index, frame=now)
        now = drawn.frame
        video += [drawn.video] if drawn.video else []
        audio += [drawn.audio] if drawn.audio else []
    chains = [f"[0:v:0]{','.join(video)}[v0]", *_over(pictures, now)]
    chains.append(f"[v{len(pictures)}]format=yuv420p[v]")
    if has_audio:
        chains.append(f"[0:a:0]{','.join(audio) or 'anull'}[a]")
    return Graph(";".join(chains), has_audio, now, texts, tuple(picture.path for picture in pictures))


def _draw(
    step: Mapping[str, object], values: Params, *, texts: dict[str, str], index: int, frame: Frame
) -> filters.Drawn:
    """One step of a checked spec; adds the texts that it draws."""
    allowed = filters.FILTERS[str(step["filter"])]
    options = step.get("options", {})
    words: dict[str, str] = {}
    for key, raw in (options if isinstance(options, dict) else {}).items():
        found = _PLACEHOLDER.fullmatch(raw) if isinstance(raw, str) else None
        value = values.get(found[1], raw) if found else raw
        word = _formatted(allowed.options[key], value, place=key)
        if isinstance(allowed.options[key], Text):
            texts[f"text{index}.txt"] = word
            word = f"text{index}.txt"
        words[key] = word
    return allowed.draw(words, frame)


def _over(pictures: Sequence[Picture], frame: Frame) -> list[str]:
    if len(pictures) > PICTURES_MAX:
        raise InvalidGraph("pictures", f"at most {PICTURES_MAX}.")
    chains = []
    for index, picture in enumerate(pictures):
        if not (_finite(picture.opacity) and 0 <= picture.opacity <= 1 and 0 < picture.width <= 1):
            raise InvalidGraph("pictures", "opacity and width are shares of 1.")
        size = f"w={filters.even(frame.width * picture.width)}:h=-2"
        if picture.position == "fill":
            size = f"w={frame.width}:h={frame.height}"
        looks = f"scale={size},format=rgba,colorchannelmixer=aa={filters.number(picture.opacity)}"
        chains.append(f"[{index + 1}:v]{looks}[p{index}]")
        chains.append(f"[v{index}][p{index}]overlay={_CORNERS[picture.position]}[v{index + 1}]")
    return chains
