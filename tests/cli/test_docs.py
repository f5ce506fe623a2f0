"""What docs/command-line.md shows is what the command prints."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/command-line.md"
BLOCKS = re.findall(
    r"^```console\n\$ probseg (.*)\n((?:.*\n)*?)```$", PAGE.read_text(encoding="utf-8"), re.M
)
SHOWN = [(line, output) for line, output in BLOCKS if output]


@pytest.mark.parametrize(("line", "shown"), SHOWN, ids=[line for line, _ in SHOWN])
def test_the_page_shows_what_is_printed(command, monkeypatch, tmp_path, line, shown):
    monkeypatch.chdir(tmp_path)
    _, output, message = command(*shlex.split(line))
    printed = [" ".join(one.split()) for one in (output + message).splitlines()]
    wanted = [" ".join(one.split()) for one in shown.splitlines()]
    start = 0
    for one in wanted:
        assert one in printed[start:], f"{one!r} is not printed there"
        start = printed.index(one, start) + 1


def test_the_page_shows_every_command():
    assert len(SHOWN) >= 6
    assert {line.split()[0] for line, _ in BLOCKS} >= {"list", "show", "check", "describe"}
