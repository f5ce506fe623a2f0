"""The tests of sharing have a few modules of their own."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves the folder out
