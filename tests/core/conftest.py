"""The tests of the core share small networks and densities with known answers."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves the folder out
