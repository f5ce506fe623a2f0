"""Parts with planted faults lie in modules beside the tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves the folder out
