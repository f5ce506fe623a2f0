"""The command ``probseg``: look at parts and models, check them, use them, begin new ones."""

from probseg.cli.command import main

__all__ = ["main"]
