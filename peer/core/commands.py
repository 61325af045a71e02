"""What the core asks of the shell around it. The shell carries these out in order and decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peer.core.events import Event, Message, State
from protocol.envelope import Request
from protocol.errors import BackchannelError
from protocol.ids import MessageId


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send this to the relay."""

    request: Request


@dataclass(frozen=True, slots=True)
class Show:
    """Hand this to the user."""

    item: Message | Event


@dataclass(frozen=True, slots=True)
class Settled:
    """A message of the user's got this far, or (``error``) no further."""

    id: MessageId
    state: State
    error: BackchannelError | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A statement that the user submitted was accepted, or refused with ``error``."""

    id: bytes
    error: BackchannelError | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """The room is attached, and everything retained was handed over."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The room delivers nothing more to this peer, for this reason."""

    error: BackchannelError


@dataclass(frozen=True, slots=True)
class HangUp:
    """End this connection, and make another."""


Command = Transmit | Show | Settled | Answered | Ready | Ended | HangUp
Emit = Callable[[Command], None]
