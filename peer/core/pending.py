"""A post that waits for the relay's answer: its content, what it was encrypted with, and its place among the others."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol import limits
from protocol.content import Ask, ChainKey, Content, Receipt
from protocol.envelope import Post
from protocol.ids import MessageId, PeerId

Lane = tuple[PeerId | None, bool]


@dataclass(slots=True)
class Pending:
    """A post that the relay has not answered."""

    id: MessageId
    content: Content
    to: PeerId | None
    made_at: int
    generation: int | None = None
    """Of the recipient: a receipt answers the very key that its aside was sealed with."""
    due: int = 0
    counter: int = 0
    """Of the asides to ``to``, or of the chain."""
    request: Post | None = None
    bound: object = None
    """What ``request`` was encrypted with; when that is no longer current, it is made afresh."""
    out: bool = False
    since: int = field(init=False)
    """Since when it waits, by a clock that may be set meanwhile."""

    def __post_init__(self) -> None:
        """Wait from the beginning."""
        self.since = self.made_at

    def ages(self, now: int) -> bool:
        """Say whether it has waited for too long; a clock that is set back makes nothing wait for longer than that."""
        self.since = min(self.since, now)
        self.due = min(self.due, now + limits.SECOND)
        return now - self.since > limits.UNSENT

    @property
    def is_user(self) -> bool:
        """Whether the user waits for its fate."""
        return not isinstance(self.content, Receipt | ChainKey | Ask)

    @property
    def lane(self) -> Lane:
        """What the relay measures the speed of: asides to one member, and apart from them chain keys."""
        return (self.to, isinstance(self.content, ChainKey))

    @property
    def turn(self) -> tuple[int, int]:
        """When it goes: first the asides that have their numbers, lest one that is late be told as missing."""
        if self.to is not None and self.counter:
            return 0, self.counter
        return (1 if isinstance(self.content, ChainKey) else 2), 0
