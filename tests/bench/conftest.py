"""The benchmark is not installed with the rest: it is found in the checkout, after whatever is installed."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
