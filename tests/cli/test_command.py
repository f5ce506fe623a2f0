"""The command as a whole: it explains itself at once, and names the nearest right argument."""

import io
import re

import pytest

import probseg
from probseg.cli import PROBSEG, main
from probseg.cli.command import Command, Group, run_program
from probseg.errors import DataError, OptionError
from probseg.registry import KINDS, singular

NAMES = [command.name for command in PROBSEG.commands]


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in NAMES)])
def test_it_explains_itself_with_examples_and_without_torch(python, arguments):
    code = (
        "import sys; from probseg.cli import main\n"
        f"try: main({arguments})\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
    )
    output = python("-c", code)
    assert "usage: probseg" in output and "examples:\n  " in output


def test_the_help_names_every_kind(python):
    words = " ".join(python("-m", "probseg", "--help").split())
    (sentence,) = re.findall(r"A kind is a (.*?), in the singular", words)
    assert re.split(", | or ", sentence) == [kind.replace("_", "-") for kind in KINDS]
    assert all(singular(kind) in KINDS for kind in re.split(", | or ", sentence))


def test_a_list_imports_no_torch(python):
    code = (
        "import sys; from probseg.cli import main\n"
        "main(['list']); main(['list', 'models', '--json'])\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    assert "csae" in python("-c", code)


def test_a_wrong_command_gets_the_nearest_right_one(command):
    status, _, stderr = command("discribe")
    assert status == 2 and "did you mean 'describe'?" in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("train csae --otu run", "did you mean '--out'?"),
        ("evaluate run --data x --metric=ged --roots=y", "did you mean '--root'?"),
        ("score -m 3", "no option is called '-m'"),
    ],
)
def test_a_wrong_option_gets_the_nearest_right_one(command, line, hint):
    status, _, stderr = command(*line.split())
    assert status == 2 and hint in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "3x4 - e ... +-1 ?"),
        ("cp1252", "3×4 – é … ±1 ?"),
        ("utf-8", "3×4 – é … ±1 日"),
    ],
)
def test_a_console_gets_the_nearest_characters_that_it_has(monkeypatch, encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stream)
    assert run_program(SAY, ["3×4 – é … ±1 日"]) == 0
    assert main(["list", "projectors"]) == 0
    stream.flush()
    output = stream.buffer.getvalue().decode(encoding)
    assert output.splitlines()[0] == shown and "planar" in output


def test_the_version_is_the_packages(command):
    assert command("--version")[1].strip() == f"probseg {probseg.__version__}"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("probseg ", set(NAMES)),
        ("probseg show pro", {"projector"}),
        ("probseg list pro", {"projectors"}),
        ("probseg show projector ", set(probseg.projectors)),
        ("probseg check metrics w-", {n for n in probseg.metrics if n.startswith("w-")}),
        ("probseg describe csa", {"csae"}),
        ("probseg show nothing ", set()),
    ],
)
def test_tab_completes_commands_kinds_and_names(python, tmp_path, line, wanted):
    answers = tmp_path / "answers"
    python(
        *("-m", "probseg"),
        cwd=tmp_path,
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_STDOUT_FILENAME=str(answers),
        _ARGCOMPLETE_SUPPRESS_SPACE="1",
        _ARGCOMPLETE_IFS="\n",
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    completions = {
        one for one in answers.read_text().split("\n") if one and not one.startswith("-")
    }
    assert completions == wanted


def test_the_entry_point_is_the_command():
    import tomllib
    from importlib.metadata import EntryPoint
    from pathlib import Path

    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    scripts = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["scripts"]
    assert EntryPoint("probseg", scripts["probseg"], "console_scripts").load() is main


def test_whoever_reads_the_first_line_only_gets_no_traceback(python):
    code = (
        "import subprocess, sys\n"
        "many = [sys.executable, '-m', 'probseg', 'list', '--json']\n"
        "one = subprocess.Popen(many, stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "one.stdout.read(1); one.stdout.close(); print(one.stderr.read().decode())\n"
        "sys.exit(one.wait())"
    )
    assert python("-c", code).strip() == ""


def _add_word(parser):
    parser.add_argument("word")


def say(options):
    """The function of the commands below."""
    if options.word == "data":
        raise DataError("the data are damaged")
    if options.word == "option":
        raise OptionError("that makes no sense")
    if options.word == "stop":
        raise KeyboardInterrupt
    print(options.word)
    return 0


SAY = Command(name="say", summary="say a word", add_arguments=_add_word, run=f"{__name__}:say")
NESTED = Group(
    name="program",
    summary="a program",
    commands=(Group(name="group", summary="commands in a group", commands=(SAY,)),),
)


@pytest.mark.parametrize(("program", "words"), [(SAY, []), (NESTED, ["group", "say"])])
def test_a_command_runs_alone_and_in_groups(program, words, capsys):
    assert run_program(program, [*words, "hello"]) == 0
    assert capsys.readouterr().out == "hello\n"
    name = " ".join([program.name, *words])
    for word, status, message in (
        ("data", 1, f"{name}: the data are damaged\n"),
        ("option", 2, f"{name}: that makes no sense (--help explains)\n"),
        ("stop", 130, "\ninterrupted\n"),
    ):
        assert run_program(program, [*words, word]) == status
        assert capsys.readouterr().err == message
