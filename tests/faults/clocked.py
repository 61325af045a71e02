"""A relay whose clock the test sets: ``python clocked.py FILE run …``; FILE holds by how many ms it is wrong.

The program has no such switch: here the module ``time`` is replaced where the router reads it, the time of day alone.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace


def main() -> None:
    """Run the relay's command line."""
    from relay import router
    from relay.cli import main as relay

    file = Path(sys.argv[1])
    router.time = SimpleNamespace(  # type: ignore[assignment]
        monotonic_ns=time.monotonic_ns,
        time_ns=lambda: time.time_ns() + int(file.read_text() or "0") * 1_000_000,
    )
    relay(sys.argv[2:])


if __name__ == "__main__":
    main()
