"""A parser of arguments with errors in one line, and the arguments that commands share."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from probseg.errors import OptionError, ProbsegError, UnknownNameError
from probseg.options import an, did_you_mean, unknown
from probseg.registry import KINDS, in_words, registry, singular
from probseg.testing import CONTRACTS


class Parser(argparse.ArgumentParser):
    """A parser whose errors take one line and name the nearest valid choice.

    ``~`` in a path is the home folder, which a shell leaves alone in ``--out=~/run``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("type", Path, lambda word: Path(os.path.expanduser(word)))

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and leave with status 2."""
        sys.exit(self.complain(message))

    def parse_known_args(  # type: ignore[override]  # of three overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse arguments, after a look for options that there are none of."""
        words = sys.argv[1:] if args is None else list(args)
        if not self._subparsers:  # whose commands look at their own options
            self._check_options(words)
        return super().parse_known_args(words, namespace)

    def _check_options(self, words: list[str]) -> None:
        known = self._option_string_actions
        for word in itertools.takewhile(lambda word: word != "--", words):
            option = word.partition("=")[0] if word.startswith("--") else word[:2]
            if re.match("--?[a-z]", option) and not any(one.startswith(option) for one in known):
                self.error(unknown("option", option, known))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = list(map(str, action.choices))
            hint = f"{did_you_mean(value, known)} (choose from {', '.join(known)})"
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint}")

    def complain(self, message: object) -> int:
        """Print what is wrong and return status 2."""
        print(f"{self.prog}: {message} (--help explains)", file=sys.stderr)
        return 2

    def run(self, function: Callable[[], int]) -> int:
        """Call a command's function and return the exit status, with errors in one line.

        The status is 2 where the arguments make no sense, 1 where something cannot be read or does
        not hold, 130 after Ctrl-C.
        """
        try:
            return function()
        except KeyboardInterrupt as stop:  # with what to do next, from commands that go on
            print("\n" + "; ".join(["interrupted", *map(str, stop.args)]), file=sys.stderr)
            return 130
        except BrokenPipeError:  # whoever read the output has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (UnknownNameError, OptionError) as error:
            return self.complain(error)
        except ProbsegError as error:
            print(f"{self.prog}: {error}", file=sys.stderr)
            return 1


def add_json(parser: Parser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_set(parser: Parser, meaning: str) -> None:
    """Add ``--set KEY=VALUE ...``, to be read by :func:`parse_assignments`."""
    parser.add_argument(
        "--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help=meaning
    )


def add_stratified(parser: Parser) -> None:
    """Add ``--stratified``."""
    parser.add_argument(
        "--stratified",
        action="store_true",
        help="draw the samples of an image such that they share out what the model expects",
    )


def add_part(parser: Parser, *, kinds: Iterable[str] = KINDS) -> None:
    """Add ``KIND NAME``, to be read by :func:`chosen_part`; shells complete both."""
    alone = "such as projector; or the name alone, where parts of one kind have it"
    kind = parser.add_argument("kind", metavar="KIND|NAME", help=alone)
    complete(kind, lambda **_: list(kinds))
    name = parser.add_argument("name", metavar="NAME", nargs="?", help="such as planar")
    complete(name, _names)


def chosen_part(
    options: argparse.Namespace, *, kinds: Mapping[str, str] = KINDS
) -> tuple[str, str]:
    """Return the kind, in the singular, and the name that were given.

    Args:
        options: The arguments of :func:`add_part`.
        kinds: Singular to registry; a name without its kind is looked up in those of parts.

    Raises:
        UnknownNameError: There is no such kind, or no part of the name alone.
        OptionError: Several kinds have the name, or a kind stands there without a name.
    """
    if options.name is not None:
        return singular(options.kind, kinds), options.name
    name = options.kind
    owners = [one for one in kinds if one in KINDS and name in registry(kinds[one])]
    if len(owners) == 1:
        return owners[0], name
    if owners:
        several = " and ".join(an(in_words(one)) for one in owners)
        calls = " or ".join(f"{one.replace('_', '-')} {name}" for one in owners)
        raise OptionError(f"{name!r} is {several}; say which, {calls}")
    try:
        kind = singular(name, kinds)
    except UnknownNameError:
        known = [part for one in KINDS.values() for part in registry(one)]
        hint = did_you_mean(name, [*known, *kinds]) or ";"
        raise UnknownNameError(
            f"no part or kind is called {name!r}{hint} probseg list shows all of them"
        ) from None
    plural = kinds[kind].replace("_", "-")
    raise OptionError(f"give a name after {name}: probseg list {plural} shows them")


def complete(action: argparse.Action, completer: Callable[..., list[str]]) -> None:
    """Let shells complete an argument with what ``completer`` returns."""
    action.completer = completer  # type: ignore[attr-defined]  # read by argcomplete


_PYTHONS = {"None": None, "True": True, "False": False}  # words that TOML lacks


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return names and values from ``KEY=VALUE``: TOML, Python, JSON or else a plain word.

    A key with dots sets a value within a mapping; of a key given twice the last value counts.

    Raises:
        OptionError: One is no assignment, has braces around what is no mapping, or two contradict
            each other.

    >>> parse_assignments(["size=64", "root=my/data", "layout=None", "size=32", "invert=True"])
    {'size': 32, 'root': 'my/data', 'layout': None, 'invert': True}
    >>> parse_assignments(["backbone.name=unet", "backbone.channels=[8, 16]"])
    {'backbone': {'name': 'unet', 'channels': [8, 16]}}
    >>> parse_assignments(['backbone={"name": "unet", "channels": [8, 16]}'])
    {'backbone': {'name': 'unet', 'channels': [8, 16]}}
    """
    import tomllib  # here and below, since --help must answer at once

    texts: dict[str, str] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise OptionError(
                f"--set takes KEY=VALUE, not {key!r}; put other arguments before --set"
            )
        texts[key.strip()] = text
    values = [_value(key, text) for key, text in texts.items()]
    numbered = "\n".join(f"{key} = {number}" for number, key in enumerate(texts))
    try:
        return _numbers_replaced(tomllib.loads(numbered), values)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"--set {' '.join(assignments)}: {error}") from error


def _numbers_replaced(tree: dict[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    return {
        key: _numbers_replaced(one, values) if isinstance(one, dict) else values[one]
        for key, one in tree.items()
    }


def _value(key: str, text: str) -> Any:
    """Return what a text means.

    Raises:
        OptionError: It has braces around what is no mapping.
    """
    import ast
    import json

    if text in _PYTHONS:
        return _PYTHONS[text]
    brackets = text[:1] + text[-1:]
    for parse in (_toml, ast.literal_eval, json.loads):
        if parse is not _toml and brackets not in ("{}", "[]"):
            break
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict) or brackets != "{}":
            return value
    if brackets == "{}":
        raise OptionError(
            f"--set {key}={text} is no mapping; write {key}.name=NAME {key}.OPTION=VALUE, or the "
            f'mapping in single quotes: \'{key}={{"name": "NAME"}}\''
        )
    return text


def _toml(text: str) -> Any:
    import tomllib

    parsed = tomllib.loads(f"value = {text}")
    if parsed.keys() != {"value"}:
        raise ValueError("several lines")
    return parsed["value"]


def _names(*, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    try:
        return list(registry(CONTRACTS[singular(parsed_args.kind, CONTRACTS)]))
    except UnknownNameError:
        return []
