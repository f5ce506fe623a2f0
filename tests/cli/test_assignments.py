"""What follows `--set`: keys with dots, and values as TOML, Python or JSON writes them."""

import pytest

from probseg.cli.opening import parse_sections
from probseg.cli.parser import parse_assignments
from probseg.errors import OptionError

MIXTURE = {"encoder": {"name": "mixture", "experts": 2, "norm": None}}


@pytest.mark.parametrize(
    "words",
    [
        ["encoder.name=mixture", "encoder.experts=2", "encoder.norm=None"],
        ['encoder={"name": "mixture", "experts": 2, "norm": None}'],
        ["encoder={'name': 'mixture', 'experts': 2, 'norm': None}"],
        ['encoder={"name": "mixture", "experts": 2, "norm": null}'],
        ['encoder={name = "mixture", experts = 2}', 'encoder={"name":"mixture"}'],
    ],
)
def test_a_part_is_given_by_dots_or_as_a_mapping(words):
    wanted = MIXTURE if len(words) != 2 else {"encoder": {"name": "mixture"}}
    assert parse_assignments(words) == wanted


def test_the_command_takes_what_the_documentation_shows_in_python(command):
    chosen = [
        'encoder={"name": "mixture", "channels": [4, 8], "convolutions": 1}',
        "backbone={'name': 'unet', 'channels': [4, 8]}",
    ]
    dotted = [
        *("encoder.name=mixture", "encoder.channels=[4, 8]", "encoder.convolutions=1"),
        *("backbone.name=unet", "backbone.channels=[4, 8]"),
    ]
    outputs = [
        command("describe", "energy", "--set", *words, "--size", "16", "--json")
        for words in (chosen, dotted)
    ]
    assert outputs[0][0] == 0 and outputs[0] == outputs[1]


def test_a_part_of_a_section_is_given_as_a_mapping_too():
    given = parse_sections(['model.encoder={"name": "mixture"}', "model.beta=2"], ("data", "model"))
    assert given == {"data": {}, "model": {"encoder": {"name": "mixture"}, "beta": 2}}


def test_nothing_can_be_set_within_a_section():
    given = parse_sections(["model.norm=None", "data.window=None"], ("data", "model"))
    assert given == {"data": {"window": None}, "model": {"norm": None}}


@pytest.mark.parametrize("text", ["{name: mixture}", '{"name", "mixture"}', "{}}", "{1: }"])
def test_braces_around_no_mapping_are_refused_with_the_form_of_dots(text):
    with pytest.raises(OptionError, match=r"model\.encoder\.name=NAME model\.encoder\.OPTION="):
        parse_assignments([f"model.encoder={text}"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[8, 16]", [8, 16]),
        ("['a', None]", ["a", None]),
        ("{255: 'ignore', 7: 2}", {255: "ignore", 7: 2}),
        ("1e-3", 1e-3),
        ("8,16", "8,16"),
        ("(1, 2)", "(1, 2)"),
        ("[a", "[a"),
        ("[a]", "[a]"),
        ("", ""),
        ("3\nother = 4", "3\nother = 4"),
        ("True", True),
        ("false", False),
        ('"None"', "None"),
    ],
)
def test_a_value_is_what_it_looks_like_or_a_word(text, value):
    parsed = parse_assignments([f"key={text}"])["key"]
    assert parsed == value and type(parsed) is type(value)
