import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from containers import bare, fastapi, images  # noqa: F401
