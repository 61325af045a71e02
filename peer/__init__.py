"""The peer: commands, chat and the Python API of Backchannel.

``from peer import Peer`` is the whole entrance. The names are looked up when they are used, so that a command that
needs none of them (``--help``) does not load the cryptography.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peer.api import Peer as Peer
    from peer.api import Room as Room
    from peer.core.events import Event as Event
    from peer.core.events import Message as Message
    from peer.core.events import Reading as Reading
    from peer.core.events import State as State

__all__ = ["Event", "Message", "Peer", "Reading", "Room", "State"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(name)
    return getattr(importlib.import_module("peer.api"), name)
