"""Every code block of README and of the documentation does what the page says.

Python blocks run one after the other, in a folder of their own; on the pages of ``RUN`` the
commands between them run too. Commands of the other pages are read by the parsers of the programs
themselves. ``<!-- not run: REASON -->`` before a block says that it cannot run here.
"""

import importlib
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

import benchmarks.gpu.__main__
import benchmarks.run
import probseg
from benchmarks.suite.definition import read_suite
from probseg.cli import PROBSEG, main
from probseg.cli.command import Command, Group, make_parser
from probseg.registry import KINDS, singular

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
OFFERED = ("flow-matching", "ssn")  # models of plugins
MANUAL = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
WITH_PYTHON = [page for page in MANUAL if "```python\n" in (ROOT / page).read_text("utf-8")]
PAGES = [*MANUAL, "CONTRIBUTING.md", "SECURITY.md", *(f"plugins/{p}/README.md" for p in PLUGINS)]

RUN = ("docs/getting-started.md", "docs/own-data.md", "docs/score-masks.md")
FILES = (
    "docs/plugins.md",
    "docs/benchmarks.md",
    "docs/own-data.md",
)  # which show files; tests of their own read them
SLOW = ("README.md", *(f"docs/{page}.md" for page in ("getting-started", "own-data", "sharing")))
FEW = (  # steps, and a smaller network, than the page's commands have
    "--set",
    "training.max_steps=2",
    "training.batch_size=2",
    *(
        f"model.{part}={{name='{name}', channels=[4, 8], convolutions=1}}"
        for part, name in {"backbone": "unet", "encoder": "axis-aligned"}.items()
    ),
)
NOT_RUN = {  # page to the number of its blocks that say so
    "docs/data.md": 3,
    "docs/families/flow-matching.md": 1,
    "docs/sharing.md": 1,
}
LANGUAGES = ("python", "bash", "console", "toml", "text")
# Tools of others, whose arguments are theirs to read.
OTHERS = ("cd", "exec", "git", "hf", "lscpu", "mkdir", "sbatch", "tar", "cat", "split", "eval")
SHELL = ("register-python-argcomplete", "source", ".ci/run", "cp", "ls", "export")
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:exec )?(?:probseg|python -m [\w.]+|make|pip) ")


def _marked(pages, slow):
    return [pytest.param(p, marks=pytest.mark.slow) if p in slow else p for p in pages]


@pytest.mark.untraced  # whoever runs an example runs it so
@pytest.mark.parametrize("page", _marked(WITH_PYTHON, SLOW))
def test_python_runs_as_it_stands_on_the_page(page, blocks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in blocks(page):
        if block.language == "python" and not block.title:
            code = compile("\n" * (block.line - 1) + block.code, str(ROOT / page), "exec")
            if not block.not_run:
                exec(code, names)
        elif page in RUN and block.language == "bash" and not block.not_run:
            for words in _commands(block):
                _carry_out(words, capsys)


def _carry_out(words, capsys):
    if words[0] == "probseg":
        words = [name for word in words for name in _expanded(word)]
        few = FEW if words[1] == "train" else ()
        assert main([*words[1:], *few]) == 0, f"{shlex.join(words)}\n{capsys.readouterr()}"


def _expanded(word):
    """Return what a shell would, but two files at the most."""
    return sorted(map(str, Path().glob(word)))[:2] if "*" in word else [word]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one(page, blocks, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    here = {block.title: block.code for block in blocks(page) if block.title}
    for title, code in here.items():
        (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / title).write_text(code, encoding="utf-8")
    for block in blocks(page):
        for words in _commands(block) if not block.not_run else ():
            try:
                _read(words)
            except (SystemExit, Exception) as error:
                if isinstance(error, SystemExit) and not error.code:  # --help
                    continue
                message = capsys.readouterr().err or error
                pytest.fail(f"{page}, block at line {block.line}: {shlex.join(words)}\n{message}")


@pytest.mark.parametrize(
    ("script", "files", "names"),
    [
        (
            "flat.sh",
            ["flat/a_1.png", "flat/a_1_reader1.png", "flat/a_1_reader2.png"],
            ["reader1", "reader2"],
        ),
        ("beside.sh", ["flat/a_1.png", "flat/a_1_mask.png"], ["reader"]),
        ("pairs.sh", ["img/a.nii.gz", "gt/a.nii.gz"], ["reader"]),
        (
            "annotators.sh",
            ["scans/a.nii.gz", "outlines/anna/a.nii.gz", "outlines/ben/a.nii.gz"],
            ["anna", "ben"],
        ),
    ],
)
def test_a_script_brings_files_into_the_layout(script, files, names, blocks, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(file)
    code = next(block.code for block in blocks("docs/own-data.md") if block.title == script)
    subprocess.run(["bash", "-e"], input=code, text=True, cwd=tmp_path, check=True)
    data = tmp_path / "my-data"
    written = {str(p.relative_to(data)): p.read_text() for p in data.rglob("*.*") if p.is_file()}
    image, *masks = files
    suffix = image[image.index(".") :]
    id_ = Path(image).name.removesuffix(suffix)
    assert written == {f"images/{id_}{suffix}": image} | {
        f"masks/{id_}/{name}{suffix}": mask for name, mask in zip(names, masks, strict=True)
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_checked(page, blocks):
    for block in blocks(page):
        where = f"{page}, block at line {block.line}"
        assert block.language in LANGUAGES, f"{where}: {block.language} is checked by no test"
        assert not block.title or page in FILES, f"{where}: no test reads {block.title}"
        if block.language == "python":
            compile(block.code, where, "exec")
        python = re.search(r"^(import |from \w+ import |probseg\.\w)", block.code, re.M)
        assert block.language != "text" or not python, f"{where} is Python; say so"


@pytest.mark.parametrize("page", PAGES)
def test_toml_is_what_its_reader_takes(page, blocks, tmp_path):
    for block in blocks(page):
        if block.language == "toml":
            content = tomllib.loads(block.code)
            if "build-system" not in content:  # docs/plugins.md is tested as a package
                file = tmp_path / "suite.toml"
                file.write_text(block.code, encoding="utf-8")
                read_suite(file).check_options()


def test_few_blocks_are_not_run(blocks):
    reasons = {page: [b.not_run for b in blocks(page) if b.not_run] for page in PAGES}
    print(reasons)
    assert {page: len(told) for page, told in reasons.items() if told} == NOT_RUN


SHOWN = [
    (page, line, output)
    for page in MANUAL
    for line, output in re.findall(
        r"^```console\n\$ probseg (.*)\n((?:.+\n|\n)*?)```$",
        (ROOT / page).read_text(encoding="utf-8"),
        re.M,
    )
    if output
]


@pytest.mark.parametrize(("page", "line", "shown"), SHOWN, ids=[line for _, line, _ in SHOWN])
def test_the_page_shows_what_is_printed(page, line, shown, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with suppress(SystemExit):  # argparse's way to end
        main(shlex.split(line))
    printed = [" ".join(one.split()) for one in "".join(capsys.readouterr()).splitlines()]
    wanted = [" ".join(one.split()) for one in shown.splitlines()]
    start = 0
    for one in wanted:
        assert one in printed[start:], f"{one!r} is not printed there"
        start = printed.index(one, start) + 1


def test_outputs_are_shown():
    assert len(SHOWN) >= 6


@pytest.mark.parametrize(
    ("language", "code", "message"),
    [
        ("bash", "probseg trian csae --data my-data --out run", "invalid choice"),
        ("bash", "probseg train csae --data my-data --out run --epochs 3", "no option"),
        ("text", "python -m benchmarks.run --every", "no option"),
        ("console", "$ python -m benchmarks.runs --all", "benchmarks.runs"),
        ("bash", "python -m benchmarks.run --datasets contuors", "contours"),
        ("bash", "pip install 'probseg[trian]'", "trian"),
        ("bash", "make everything", "everything"),
        ("bash", "python docs/no.py", "no.py"),
        ("bash", "prodseg list", "prodseg"),
    ],
)
def test_a_wrong_command_is_noticed(language, code, message, capsys):
    with pytest.raises((SystemExit, Exception)) as caught:
        for words in _commands(SimpleNamespace(language=language, code=code, title="")):
            _read(words)
    assert message in f"{caught.value} {capsys.readouterr().err}"


def _commands(block) -> Iterator[list[str]]:
    """Return the words of each command; in a text only those of our own programs."""
    lines = block.code.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    elif block.language == "text":
        lines = [line for line in lines if COMMAND.match(line)]
    elif block.language != "bash" or block.title:
        lines = []
    for line in lines:
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("();<>|&"):
                if command:
                    yield command
                command = []
            elif command or not re.fullmatch(r"[A-Z_]+=.*", word):
                command.append(re.sub(r"\$\{?\w+\}?", "1", word))  # a variable of the shell


def _read(words: list[str]) -> None:
    """Let whoever would read a command read it; raises what they raise."""
    match words:
        case ["exec", *rest]:
            _read(rest)
        case ["probseg", *arguments]:
            make_parser(PROBSEG).parse_args(arguments)
        case ["python", "-m", "pytest" | "venv", *_] | ["pytest", *_]:
            pass
        case ["python", "-c", code]:
            compile(code, "-c", "exec")
        case ["python", "-m", module, *arguments]:
            _read_module(module, arguments)
        case ["python", file, *_]:
            assert Path(file).is_file() or (ROOT / file).is_file(), f"there is no file {file}"
        case ["pip", "install" | "download" | "wheel", *arguments]:
            _read_installation(arguments)
        case ["make", *targets]:
            made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
            missing = [t for t in targets if "=" not in t and t not in made]
            assert not missing, f"make has no target {missing}"
        case [first, *_]:
            assert first in (*OTHERS, *SHELL), f"nobody here knows the command {first!r}"


def _read_module(module: str, arguments: list[str]) -> None:
    """Let the parser of ``python -m module`` read arguments; a run's names are looked up too."""
    if module == "benchmarks.gpu":
        benchmarks.gpu.__main__.make_parser().parse_args(arguments)
        return
    options = make_parser(_program(module)).parse_args(arguments)
    if module == "benchmarks.run" and not options.list:
        options.data_root = Path()  # the page's is at the reader's
        if "models" in options:
            options.models = [name for name in options.models if name not in OFFERED] or ["punet"]
        benchmarks.run.make_plan(benchmarks.run.options_of(options))


def _program(module: str) -> Command | Group:
    """Return what ``python -m module`` runs."""
    name = f"python -m {module}"
    for place in (module, f"{module}.__main__"):
        with suppress(ModuleNotFoundError):
            for program in vars(importlib.import_module(place)).values():
                if isinstance(program, Command | Group) and program.name == name:
                    return program
    raise LookupError(f"{module} is no program")


def _read_installation(arguments: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for argument in arguments:
        if argument.startswith((".[", "probseg[", "probseg")) and argument not in PLUGINS:
            wanted = Requirement(re.sub(r"^\.", "probseg", argument)).extras
            assert wanted <= set(extras), f"probseg has no extra {wanted - set(extras)}"
        elif argument.startswith("./"):
            assert (ROOT / argument).exists(), f"there is no {argument}"


@pytest.fixture(autouse=True)
def _forget_what_examples_register():
    yield
    for kind in ("projectors", "datasets", "metrics", "models"):
        registry = getattr(probseg, kind)
        if "mine" in registry:
            registry.unregister("mine")


def test_the_table_of_extension_points_has_every_kind():
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z ]+) \| `probseg\.(\w+)` \|", page, re.M)
    assert len(rows) == len(KINDS)
    assert {singular(kind): group for kind, group in rows} == KINDS
