"""A path that begins with ~ lies in the user's home folder, in every command of the benchmark."""

import pytest

from benchmarks import compare, report, run
from benchmarks.gpu import kit
from benchmarks.gpu.__main__ import make_parser
from benchmarks.speed import __main__ as speed
from probseg.cli.parser import Parser


def parsed_by(module):
    def parse(arguments):
        parser = Parser(prog="command")
        module.COMMAND.add_arguments(parser)
        return parser.parse_args(arguments)

    return parse


def parsed_by_kit(arguments):
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kit, "make", lambda *paths: made.append(paths) or 0)
        assert kit.main(arguments) == 0
    return made[0]


COMMANDS = {
    "gpu": (make_parser().parse_args, ["--out", "--kit", "--data-root"]),
    "kit": (parsed_by_kit, ["--out", "--data-root"]),
    "run": (parsed_by(run), ["--out", "--data-root"]),
    "speed": (parsed_by(speed), ["--out", "--data-root"]),
    "report": (parsed_by(report), ["", "--out"]),
    "report --export": (parsed_by(report), ["", "--export"]),
    "compare": (parsed_by(compare), ["", "", "--out"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_that_takes_a_path_finds_the_home_folder(name, monkeypatch, tmp_path) -> None:
    parse, options = COMMANDS[name]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    words = [f"{option}=~/{number}".removeprefix("=") for number, option in enumerate(options)]
    parsed = parse(words)
    values = parsed if isinstance(parsed, tuple) else vars(parsed).values()
    paths = {path for value in values for path in (value if isinstance(value, list) else [value])}
    assert {tmp_path / str(number) for number in range(len(options))} <= paths


def test_so_does_the_variable_of_the_data(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PROBSEG_DATA", "~/data")
    for parse in (lambda words: make_parser().parse_args(words), parsed_by(run), parsed_by(speed)):
        assert parse([]).data_root == tmp_path / "data"


def test_a_home_that_does_not_exist_is_left_as_it_is():
    found = parsed_by(run)(["--out", "~nobody-of-that-name/out"])
    assert str(found.out) == "~nobody-of-that-name/out"
