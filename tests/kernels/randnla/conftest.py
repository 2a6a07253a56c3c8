"""The matrices of these tests can be imported by their module's name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
