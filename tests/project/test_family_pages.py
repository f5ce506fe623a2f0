"""The pages of the families say what the code does: tables of options, commands, short models."""

import ast
import importlib
import inspect
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

import probseg
from probseg.cli.opening import parse_sections
from probseg.cli.train import SECTIONS
from probseg.cli.train_defaults import choose_model, choose_training
from probseg.options import check_given
from probseg.training import TrainingSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/families/*.md"))
PLUGIN = "flow-matching"
OF_DATA = ("in_channels", "classes")  # which build(like=data) gives
PUBLISHED = {  # the names that a page gives to models of others, built from parts
    "docs/families/energy.md": ["mose"],
    "docs/families/hierarchical.md": ["hpu_net"],
    "docs/families/latent.md": ["cflow", "generalized"],
    "docs/families/penalties.md": ["spu"],
}
LINES = 20  # of a published model
SMALL = {"channels": [4, 8], "convolutions": 1}
TABLE = re.compile(r"^\| option \|(?P<columns>.+)\|\n\|[ -|]+\|\n(?P<rows>(?:\|.+\|\n)+)", re.M)


@pytest.fixture
def constructors(monkeypatch):
    """Everything that a table may have the options of, by its column."""
    plugin = "probseg_flowmatching"
    monkeypatch.syspath_prepend(ROOT / "plugins/probseg-flowmatching/src")
    found = {name: probseg.models[name] for name in probseg.models}
    found[PLUGIN] = importlib.import_module(plugin).FlowMatching
    yield found
    for name in [name for name in sys.modules if name.split(".")[0] == plugin]:
        del sys.modules[name]


def _tables(page):
    """Yield a dictionary for each table of options: column, then option, to the default."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count("| option |") == len(TABLE.findall(text)), f"{page}: a table is not read"
    for table in TABLE.finditer(text):
        *columns, meaning = _cells(table["columns"])
        assert meaning == "meaning", page
        rows = [_cells(row.strip("|")) for row in table["rows"].splitlines()]
        yield {
            column.strip("`"): {row[0].strip("`"): row[place].strip("`") for row in rows}
            for place, column in enumerate(columns, start=1)
        }


def _cells(row):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)]


def _defaults(constructor):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(constructor).parameters.items()
    }


def _default_of(path):
    """Return the default of an option as it follows --set, such as model.kl.free_bits."""
    section, *_, option = path.split(".")
    if section == "training":
        return _defaults(TrainingSettings)[option]
    inner = path.removeprefix("model.").split(".")
    whole = _defaults(probseg.models["punet"])
    if len(inner) == 1:
        return whole[option]
    return _defaults(probseg.divergences[whole[inner[0]]])[option]


@pytest.mark.parametrize("page", PAGES)
def test_a_table_gives_the_defaults_of_the_code(page, constructors):
    tables = list(_tables(page))
    assert tables, f"{page} has no table of options"
    for table in tables:
        for column, shown in table.items():
            own = column if column != "default" else Path(page).stem
            by_path = all("." in option for option in shown)
            known = None if by_path else _defaults(constructors[own])
            for option, default in shown.items():
                value = _default_of(option) if known is None else known[option]
                assert ast.literal_eval(default) == value, f"{page}: {option} of {column}"


@pytest.mark.parametrize(
    "name",
    [
        "punet",
        "2p-planar",
        "csae",
        "spu-net",
        "energy",
        "hierarchical",
        "hierarchical-csae",
        "hierarchical-energy",
        PLUGIN,
    ],
)
def test_every_option_of_a_model_is_in_a_table(name, constructors):
    shown = {
        option.removeprefix("model.")
        for page in PAGES
        for table in _tables(page)
        for column, options in table.items()
        for option in options
        if _is_of(name, column, page)
    }
    options = _defaults(constructors[name])
    same = _defaults(constructors["punet"]) if name == "spu-net" else {}
    missing = [
        one
        for one, default in options.items()
        if one not in (*shown, *OF_DATA) and same.get(one, inspect.Parameter.empty) != default
    ]
    assert not missing


def _is_of(name, column, page):
    if column == "default":
        stem = Path(page).stem
        return stem == name or (stem == "penalties" and name in ("punet", "2p-planar", "csae"))
    return column == name


COMMANDS = [
    (page, command)
    for page in PAGES
    for block in re.findall(r"^```bash\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.M | re.S)
    for command in block.splitlines()
    if command.startswith("probseg train")
]


@pytest.fixture(scope="module")
def data():
    return probseg.datasets.create("ambiguous-shapes", size=64, samples=4)


def test_every_page_has_a_command():
    assert {page for page, _ in COMMANDS} == set(PAGES)


@pytest.mark.untraced  # whoever runs a command runs it so
@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[line for _, line in COMMANDS])
def test_a_command_builds_a_model_and_settings_that_fit(page, command, data, constructors):
    _, _, name, *words = shlex.split(command)
    given = parse_sections(words[words.index("--set") + 1 :], SECTIONS)
    check_given(constructors[name], given["model"], owner=name)
    settings = TrainingSettings(**choose_training(given["training"], data, 0))
    if name == PLUGIN:  # which only its own package can look up by its name
        constructors[name](**given["model"])
        return
    small = {
        part: {"name": usual, **SMALL}
        for part, usual in {"backbone": "unet", "encoder": "axis-aligned"}.items()
        if part in _defaults(constructors[name]) and part not in given["model"]
    }
    chosen = choose_model(name, {**given["model"], **small}, data, settings)
    model = probseg.build(name, like=data, **chosen)
    for option, value in given["model"].items():
        described = model.spec[option]
        assert value.items() <= described.items() if isinstance(value, dict) else described == value
    _check_that_it_learns(model)


@pytest.mark.untraced
@pytest.mark.parametrize("page", sorted(PUBLISHED))
def test_a_published_model_takes_few_lines(page, blocks):
    """cFlow and others are choices of parts, which have a loss with a gradient and samples."""
    wanted = PUBLISHED[page]
    found = {}
    for block in blocks(page):
        if any(re.search(rf"^{name} = ", block.code, re.M) for name in wanted):
            assert len(block.code.splitlines()) <= LINES
            exec(block.code, names := {"probseg": probseg})
            found |= {name: names[name] for name in wanted if name in names}
    assert sorted(found) == wanted
    for model in found.values():
        _check_that_it_learns(model)


def _check_that_it_learns(model):
    side = max(32, getattr(model, "stride", 1))
    image = torch.rand(2, model.in_channels, *(getattr(model, "image_size", None) or (side, side)))
    shape = (2, 3, *image.shape[2:]) if model.all_annotators else (2, *image.shape[2:])
    terms = model.train().loss(image, torch.randint(model.classes, shape))
    sum(terms.values()).backward()
    gradients = [one.grad for one in model.parameters() if one.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert model.eval().sample(image, 2).shape == (2, 2, model.classes, *image.shape[2:])
