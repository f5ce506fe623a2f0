"""``completion``: the code that makes a shell complete ``probseg``."""

from __future__ import annotations

import argparse


def run(options: argparse.Namespace) -> int:
    """Print the code and return exit status 0."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["probseg"], shell=options.shell))
    return 0
