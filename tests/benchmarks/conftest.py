from __future__ import annotations

import sys
from pathlib import Path

# The package stands beside src/ and tests/ and is never installed.
sys.path.insert(0, str(Path(__file__).parent.parent.parent))
