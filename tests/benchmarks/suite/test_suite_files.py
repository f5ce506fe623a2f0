"""Suites that extend others: what they come to, and where their faults are told."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.run import COMMAND, main, make_plan, options_of
from benchmarks.suite.definition import read_suite
from benchmarks.suite.files import DEFAULT_SUITE, find, lay_over, suites
from probseg.cli.command import make_parser
from probseg.errors import OptionError

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "my-suite.toml"


@pytest.fixture
def write(tmp_path: Path):
    def to_file(text: str, name: str = "mine.toml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return to_file


def refused(path: Path, read=read_suite) -> list[str]:
    with pytest.raises(OptionError) as caught:
        read(path)
    return [line.removeprefix(f"{path.parent}/") for line in str(caught.value).splitlines()]


def test_the_example_of_the_docs_says_what_the_page_says() -> None:
    suite, main_suite = read_suite(EXAMPLE), read_suite()
    suite.check_options()
    assert suite.all.models == ("csae", "csae-narrow", "csae-wide")
    wide, csae = suite.models["csae-wide"], main_suite.models["csae"]
    assert (wide.build, wide.takes, wide.projected) == (csae.build, csae.takes, csae.projected)
    assert wide.options == {"projector": {"name": "planar", "steps": 4}}
    resolved = suite.profiles["quick"].resolve("csae-wide", "contours")
    before = main_suite.profiles["quick"].resolve("csae-wide", "contours")
    assert {k for k in resolved if resolved[k] != before[k]} == {"max_steps"}
    assert suite.profiles["paper"] == main_suite.profiles["paper"]


def test_a_name_is_a_suite_of_the_benchmark_and_a_toml_a_path(tmp_path: Path) -> None:
    assert find("suite") == DEFAULT_SUITE
    assert {find(name).stem for name in suites()} == set(suites())
    assert find("mine.toml", beside=tmp_path) == tmp_path / "mine.toml"
    with pytest.raises(OptionError, match="did you mean 'context'"):
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
    command = ["--suite", "weights", "--datasets", "contours", "--profile", "quick"]
    command += ["--set", "beta=7", "latent_dim=3"]
    options = options_of(make_parser(COMMAND).parse_args(command))
    models = {
        experiment.row: experiment.model
        for experiment in make_plan(options).experiments
        if experiment.trained
    }
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


def test_every_problem_of_a_file_is_reported_with_its_key_path(write) -> None:
    wanted = [
        ("all.baselines.1 must be", "a text, not 3"),
        ("models.mine.settings.betta: ", "unknown key 'betta'; did you mean 'beta'? Known: "),
        ("models.mine.settings.latent_dim must be", "an integer of at least 1, not 2.0"),
        ("models.mine.latents.0 must be", "did you mean 'noise'"),
        ("profiles.quick.folds.0 must be", "one of 0, 1, 2, not 7"),
        ("profiles.quick.settings.learning_rate must be", "a positive finite number, not nan"),
        ("profiles.quick.settings.max_steps must be", "an integer of at least 1, not True"),
        ("profiles.quick.datasets.lidc.patience must be", "an integer of at least 1, not -1"),
        ("profiles.quick.datasets.lidc.micro_batch must be", "did you mean 'auto'"),
        ("colour: ", "unknown key 'colour'"),
    ]
    lines = refused(write(FAULTY))
    for (path, message), line in zip(wanted, lines, strict=True):
        assert line.startswith(f"mine.toml: {path}")
        assert message in line


NAMES = """\
extends = "suite"
[all]
datasets = ["lidc", "lidcc"]

[models.mine]
build = "csaee"
takes = ["beta", "gama"]
[models.third]
like = "csae"
settings.backbone = "unett"
settings.n_ot = 3
options.projector = { name = "plannar" }

[profiles.quick.datasets.contour]
patience = 1
"""
ROWS = """\
extends = "suite"
all.models = ["mine", "punett"]

[models.mine]
like = "csaee"
[models.other]
description = "builds nothing"
[models.fourth]
like = "punet"
settings = { gamma = 3 }

[profiles.quick.models.mein]
patience = 1
"""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            NAMES,
            [
                ("all.datasets.1", "did you mean 'lidc'"),
                ("models.mine.build", "did you mean 'csae'"),
                ("models.mine.takes.1", "did you mean 'gamma'"),
                ("models.third.settings.backbone", "did you mean 'unet'"),
                ("models.third.options.projector", "did you mean 'planar'"),
                ("profiles.quick.datasets.contour", "did you mean 'contours'"),
            ],
        ),
        (
            ROWS,
            [
                ("all.models.1", "did you mean 'punet'"),
                ("profiles.quick.models.mein", "did you mean 'mine'"),
                ("models.mine.like", "did you mean 'csae'"),
                ("models.other", "a row has one of"),
                ("models.fourth.settings.gamma", "the row does not take 'gamma'"),
            ],
        ),
    ],
)
def test_unknown_names_are_reported_with_their_key_path(write, text, wanted) -> None:
    for (path, message), line in zip(wanted, refused(write(text)), strict=True):
        assert line.startswith(f"mine.toml: {path}: ")
        assert message in line


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
    lines = capsys.readouterr().err.splitlines()
    near = {
        "datasets.ambiguous-shapes.sise": "size",
        "models.csae.options.flow_contxt": "flow_context",
        "models.csae.options.projector.step": "steps",
        "profiles.quick.settings.backbone.chanels": "channels",
    }
    for (path, name), line in zip(near.items(), lines, strict=True):
        assert f"mine.toml: {path}: " in line
        assert f"did you mean '{name}'" in line
    assert not out.exists()


def test_a_problem_is_reported_with_the_file_that_has_it(write) -> None:
    base = write('extends = "suite"\n\n[profiles.quick.settings]\nbta = 3', "base.toml")
    (line,) = refused(write('extends = "base.toml"'))
    assert line.startswith("base.toml: profiles.quick.settings.bta: ")
    base.write_text('extends = "suite"\n[all]\nmodels = ["csa"]')
    (line,) = refused(write('extends = "base.toml"\n[all]\nbaselines = []'))
    assert line.startswith("base.toml: all.models.0: ")


LINES = EXAMPLE.read_text(encoding="utf-8").splitlines()
STATEMENTS = [number for number, line in enumerate(LINES) if " = " in line]
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
@given(number=st.sampled_from(STATEMENTS), wrong=st.sampled_from(WRONG), key=st.booleans())
@example(number=LINES.index('like = "csae"'), wrong='"x"', key=False)
def test_a_garbled_line_is_reported_with_its_key_or_does_no_harm(write, number, wrong, key) -> None:
    name, _, value = LINES[number].partition(" = ")
    garbled = f"{name}x = {value}" if key else f"{name} = {wrong}"
    path = write("\n".join([*LINES[:number], garbled, *LINES[number + 1 :]]))
    try:
        read_suite(path)
    except OptionError as error:
        lines = str(error).splitlines()
        assert all("mine.toml: " in line for line in lines)
        assert any(name in line for line in lines)
    else:
        assert not key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "suite"\n[profiles.x]\nfolds = [1]\nsettings = {}', "description is missing"),
        ('\nextends = "sute"', "extends: no suite is called 'sute'; did you mean 'suite'"),
        ('extends = "none.toml"', "cannot read the suite"),
        ('extends = "mine.toml"', "mine.toml extends itself"),
        ("extends = 3", "mine.toml: extends: must be a text, not 3"),
        ("a = 1\nb = x", "mine.toml is not valid TOML: Invalid value (at line 2"),
    ],
)
def test_what_a_suite_cannot_be(write, text: str, message: str) -> None:
    (line,) = refused(write(text))
    assert message in line


def test_a_suite_that_extends_none_has_everything(write) -> None:
    lines = refused(write('description = "x"'))
    assert lines == [f"mine.toml: top level: {n} is missing" for n in ("all", "models", "profiles")]


def test_files_that_extend_each_other_are_refused(write) -> None:
    write('extends = "mine.toml"', "base.toml")
    (line,) = refused(write('extends = "base.toml"'))
    assert line.endswith("mine.toml extends itself through base.toml")


def test_rows_of_a_plugin_that_is_not_installed_are_left_out_and_named(write, capsys) -> None:
    rows = """
extends = "suite"
[all]
models = ["punet", "other"]
[models.other]
build = "of-a-plugin"
plugin = "probseg-other"
[models.wider]
like = "other"
"""
    suite = read_suite(write(rows))
    assert suite.absent == {"other": "probseg-other", "wider": "probseg-other"}
    assert suite.all.models == ("punet",) and "other" not in suite.models
    assert main(["--list", "--suite", str(write(rows))]) == 0
    assert re.search(r"rows that need a plugin:\n  other +probseg-other", capsys.readouterr().out)
