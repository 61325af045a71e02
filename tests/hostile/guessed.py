"""A relay that tells on stderr under which routing id it knows each connection: ``python guessed.py run …``.

No relay ever tells anybody. With this one a test can be as lucky as a hostile client would have to be.
"""

from __future__ import annotations

import sys
from typing import Any


def main() -> None:
    """Run the relay's command line."""
    from relay.cli import main as relay
    from relay.router import Router

    link = Router._link

    def tells(self: Router, connection: bytes, *rest: Any) -> bool:
        print(f"routing-id {connection.hex()}", file=sys.stderr, flush=True)
        return link(self, connection, *rest)

    Router._link = tells  # type: ignore[method-assign]
    relay(sys.argv[1:])


if __name__ == "__main__":
    main()
