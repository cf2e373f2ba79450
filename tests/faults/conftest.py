"""The fault suite: real processes are really killed, stopped and starved, and a checker reads the store afterwards.

`make test` runs a short version of each; `make faults` (SWEEPER_FAULTS=long) every point and the long runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the tests share `checker` and the programs that they start
