"""Our relay as a process, by the clock of the file ``$CLOCK``: ``python later_relay.py run …``; run as a script."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import relay.router
from relay.cli import main
from tests.claims.clock import Clock

if __name__ == "__main__":
    relay.router.time = Clock(Path(os.environ["CLOCK"]))  # type: ignore[assignment]  # all of it that is used there
    main(sys.argv[1:])
