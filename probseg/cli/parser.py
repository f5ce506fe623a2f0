"""A parser of arguments that complains in one line, and knows what was meant."""

from __future__ import annotations

import argparse
import re
import sys
from typing import NoReturn

from probseg.errors import did_you_mean

_CHOICE = re.compile(r"invalid choice: '?(?P<given>[^' ]*)'? \(choose from (?P<known>.*)\)")


class Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and leave with status 2."""
        sys.exit(self.complain(_helpful(message)))

    def complain(self, message: object) -> int:
        """Print what is wrong and return status 2."""
        print(f"{self.prog}: {message} (--help explains)", file=sys.stderr)
        return 2


def _helpful(message: str) -> str:
    """Add the nearest of the valid choices to argparse's message.

    >>> _helpful("argument COMMAND: invalid choice: 'lst' (choose from list, show)")
    "argument COMMAND: invalid choice: 'lst'; did you mean 'list'? (choose from list, show)"
    """
    found = _CHOICE.search(message)
    if not found:
        return message
    nearest = did_you_mean(found["given"], re.findall(r"[^\s,']+", found["known"]))
    return message.replace(" (choose", f"{nearest} (choose")
