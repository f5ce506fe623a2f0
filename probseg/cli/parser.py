"""A parser of arguments that complains in one line, and knows what was meant."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from probseg.errors import OptionError, ProbsegError, UnknownNameError
from probseg.options import did_you_mean

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

    def run(self, function: Callable[[], int]) -> int:
        """Call a command's function and return the exit status, with errors in one line.

        The status is 2 where the arguments make no sense, 1 where something cannot be read or does
        not hold, 130 after Ctrl-C.
        """
        try:
            return function()
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # whoever read the output has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (UnknownNameError, OptionError) as error:
            return self.complain(error)
        except ProbsegError as error:
            print(f"{self.prog}: {error}", file=sys.stderr)
            return 1


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
