"""``completion``: the code that makes a shell complete ``probseg``."""

from __future__ import annotations

import argparse


def run(options: argparse.Namespace) -> int:
    """Print the code and return exit status 0."""
    import argcomplete

    print(argcomplete.shellcode(["probseg"], shell=options.shell))
    return 0
