"""Suites that extend others: what they come to, and where their faults are told."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.run import main
from benchmarks.suite.definition import check_options, read_suite
from benchmarks.suite.files import DEFAULT_SUITE, find, lay_over, suites
from benchmarks.suite.validation import ChoiceError

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "my-suite.toml"


@pytest.fixture
def write(tmp_path: Path):
    def to_file(text: str, name: str = "mine.toml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return to_file


def refused(path: Path, read=read_suite) -> list[str]:
    with pytest.raises(ChoiceError) as caught:
        read(path)
    return [line.removeprefix(f"{path.parent}/") for line in str(caught.value).splitlines()]


def test_the_example_of_the_docs_says_what_the_page_says() -> None:
    suite, main_suite = read_suite(EXAMPLE), read_suite()
    check_options(suite)
    assert suite.all["models"] == ("csae", "csae-narrow", "csae-wide")
    wide, csae = suite.models["csae-wide"], main_suite.models["csae"]
    assert (wide.build, wide.takes, wide.projected) == (csae.build, csae.takes, csae.projected)
    assert wide.options == {"projector": {"name": "planar", "steps": 4}}
    resolved = suite.profiles["quick"].resolve("csae-wide", "contours")
    before = main_suite.profiles["quick"].resolve("csae-wide", "contours")
    assert {k for k in resolved if resolved[k] != before[k]} == {"max_steps"}
    assert suite.profiles["paper"] == main_suite.profiles["paper"]


def test_a_name_is_a_suite_of_the_benchmark_and_a_toml_a_path(tmp_path: Path) -> None:
    assert find("suite") == DEFAULT_SUITE
    assert {find(name).stem for name in suites()} == {*suites(), "default"} - {"suite"}
    assert find("mine.toml", beside=tmp_path) == tmp_path / "mine.toml"
    with pytest.raises(ChoiceError, match="did you mean 'context'"):
        find("contxt")


def test_files_extend_files_beside_them_and_the_nearest_wins(write) -> None:
    write('extends = "suite"\n[profiles.quick.settings]\nbeta = 3\ngamma = 4', "base.toml")
    mine = read_suite(write('extends = "base.toml"\nprofiles.quick.settings.gamma = 5'))
    found = mine.profiles["quick"].settings
    below = read_suite().profiles["quick"].settings
    assert found == {**below, "beta": 3, "gamma": 5}


def test_a_part_is_replaced_with_all_its_options() -> None:
    base = {"backbone": {"name": "unet", "norm": "batch"}, "options": {"a": 1}}
    own = {"backbone": {"name": "fpn"}, "options": {"b": 2}}
    assert lay_over(base, own) == {"backbone": {"name": "fpn"}, "options": {"a": 1, "b": 2}}


def test_what_makes_a_row_wins_over_the_command_line(write, tmp_path: Path, capsys) -> None:
    from benchmarks.run import make_parser, make_plan

    command = ["--suite", "weights", "--datasets", "contours", "--profile", "quick"]
    options = make_parser().parse_args([*command, "--set", "beta=7", "latent_dim=3"])
    _, _, cells = make_plan(options)
    models = {cell.row: cell.model for cell in cells if cell.trained}
    assert {model["latent_dim"] for model in models.values()} == {3}
    assert {(model["beta"], model["gamma"]) for model in models.values()} == {
        (beta, gamma) for beta in (1, 10, 100) for gamma in (1, 10, 100)
    }


FAULTY = """\
extends = "suite"
colour = 1

[all]
models = ["mine", "punett"]
baselines = [
  "always-empty",
  3,
]

[models."mine"]
like = "csae"
settings = { betta = 3, latent_dim = 2.0 }
latents = ["nois"]

[profiles.quick]
folds = [7]
settings.learning_rate = nan
settings.max_steps = true

[profiles.quick.datasets.lidc]
patience = -1
micro_batch = "autoo"
"""


def test_every_fault_of_a_file_is_told_with_its_line(write) -> None:
    wanted = [
        (2, "unknown key 'colour'"),
        (6, "3 is not a text"),
        (13, "unknown key 'betta'; did you mean 'beta'"),
        (13, "2.0 is not a whole number"),
        (14, "did you mean 'noise'"),
        (17, "7 is greater than the maximum of 2"),
        (18, "nan is not a finite number"),
        (19, "is not a whole number"),
        (22, "-1 is less than the minimum of 1"),
        (23, "did you mean 'auto'"),
    ]
    told = refused(write(FAULTY))
    for (number, what), line in zip(wanted, told, strict=True):
        assert line.startswith(f"mine.toml, line {number}: ")
        assert what in line


NAMES = """\
extends = "suite"
[all]
datasets = ["lidc", "lidcc"]
models = ["mine", "punett"]

[models.mine]
like = "csaee"
takes = ["beta", "gama"]
[models.other]
description = "builds nothing"
[models.third]
like = "csae"
settings.backbone = "unett"
settings.n_ot = 3
options.projector = { name = "plannar" }

[profiles.quick.models.mein]
patience = 1
[models.fourth]
like = "punet"
settings = { gamma = 3 }
"""


def test_names_that_nothing_has_are_told_with_their_line(write) -> None:
    wanted = [
        (3, "did you mean 'lidc'"),
        (4, "did you mean 'punet'"),
        (7, "did you mean 'csae'"),
        (8, "did you mean 'gamma'"),
        (9, "a row is one of"),
        (13, "did you mean 'unet'"),
        (15, "did you mean 'planar'"),
        (17, "did you mean 'mine'"),
        (21, "the row does not take 'gamma'"),
    ]
    told = refused(write(NAMES))
    for (number, what), line in zip(wanted, told, strict=True):
        assert line.startswith(f"mine.toml, line {number}: ")
        assert what in line


def test_options_that_no_part_takes_are_refused_before_anything_runs(
    write, tmp_path: Path, capsys
) -> None:
    suite = """\
extends = "suite"
[models.csae.options]
flow_contxt = "own"
projector = { name = "planar", step = 3 }
[profiles.quick.settings]
backbone = { name = "unet", chanels = [4] }
[datasets.ambiguous-shapes]
sise = 16
"""
    out = tmp_path / "out"
    command = ["--suite", str(write(suite)), "--datasets", "ambiguous-shapes", "--profile", "quick"]
    assert main([*command, "--device", "cpu", "--out", str(out)]) == 2
    told = capsys.readouterr().err.splitlines()
    near = {3: "flow_context", 4: "steps", 6: "channels", 8: "size"}
    for (number, name), line in zip(near.items(), told, strict=True):
        assert f"mine.toml, line {number}: " in line
        assert f"did you mean '{name}'" in line
    assert not out.exists()


def test_a_fault_is_told_in_the_file_that_has_it(write) -> None:
    base = write('extends = "suite"\n\n[profiles.quick.settings]\nbta = 3', "base.toml")
    (told,) = refused(write('extends = "base.toml"'))
    assert told.startswith("base.toml, line 4: ")
    base.write_text('extends = "suite"\n[all]\nmodels = ["csa"]')
    (told,) = refused(write('extends = "base.toml"\n[all]\nbaselines = []'))
    assert told.startswith("base.toml, line 3: all.models.0: ")


LINES = EXAMPLE.read_text(encoding="utf-8").splitlines()
STATEMENTS = [place for place, line in enumerate(LINES) if " = " in line]
WRONG = [
    "-1",
    "nan",
    '"x"',
    "[]",
    "[[1]]",
    "{}",
    "{ name = 3 }",
    "true",
    "1979-05-27",
    '{ x = "y" }',
]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.sampled_from(STATEMENTS), wrong=st.sampled_from(WRONG), key=st.booleans())
@example(place=LINES.index('like = "csae"'), wrong='"x"', key=False)
def test_one_line_garbled_is_told_with_its_number_or_does_no_harm(write, place, wrong, key) -> None:
    name, _, value = LINES[place].partition(" = ")
    garbled = f"{name}x = {value}" if key else f"{name} = {wrong}"
    path = write("\n".join([*LINES[:place], garbled, *LINES[place + 1 :]]))
    try:
        read_suite(path)
    except ChoiceError as error:
        told = str(error).splitlines()
        assert all(f"mine.toml, line {place + 1}: " in line for line in told)
    else:
        assert not key


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('description = "x"', "line 1: top level: there is no all, no models, no profiles"),
        ('extends = "suite"\n[profiles.x]\nfolds = [1]', "line 2: profiles.x: there is no desc"),
        ('\nextends = "sute"', "line 2: extends: no suite is called 'sute'; did you mean 'suite'"),
        ('extends = "none.toml"', "cannot read the suite"),
        ('extends = "mine.toml"', "mine.toml extends itself"),
        ("extends = 3", "line 1: extends: 3 is not a text"),
        ("a = 1\nb = x", "mine.toml is no TOML: Invalid value (at line 2"),
    ],
)
def test_what_a_suite_cannot_be(write, text: str, told: str) -> None:
    (line,) = refused(write(text))
    assert told in line


def test_files_that_extend_each_other_are_refused(write) -> None:
    write('extends = "mine.toml"', "base.toml")
    (told,) = refused(write('extends = "base.toml"'))
    assert told.endswith("mine.toml extends itself through base.toml")
