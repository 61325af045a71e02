"""What a room says to all its live attachments alike, joined into one frame that they share.

``sent`` is the place of the room up to which every live attachment has been told. What is said in a turn waits here,
with the place after each frame, so that a connection whose pipe refuses a frame falls behind exactly to its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from protocol import limits
from relay.core.place import Place

if TYPE_CHECKING:
    from relay.core.attachment import Attachment
    from relay.core.session import Connection


class Broadcast:
    """See the module's text."""

    __slots__ = ("_closed", "_lowest", "_parts", "_size", "live", "sent")

    def __init__(self, sent: Place) -> None:
        self.live: dict[Connection, Attachment] = {}
        self.sent = sent
        self._closed: list[tuple[list[bytes], Place]] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._lowest = limits.COUNTER

    def fits(self, size: int) -> bool:
        """Say whether an envelope of ``size`` bytes fits into the frame that is being filled."""
        return self._size + size <= limits.FRAME and len(self._parts) < limits.FRAME_ENVELOPES

    def close_frame(self, place: Place) -> None:
        """Begin another frame; the room is at ``place`` after what the one before it says."""
        self._closed.append((self._parts, place))
        self._parts = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Say one envelope, which fits."""
        self._parts.append(part)
        self._size += len(part)

    def note_anchor(self, index: int) -> None:
        """Take note that a message of this turn names the roster index ``index``."""
        self._lowest = min(self._lowest, index)

    def admitted_later(self, newest_admission: int) -> list[Attachment]:
        """Return the live attachments to whom a message of this turn is not addressed, and begin another turn.

        ``newest_admission`` is the index of the room's latest ADMIT: in nearly every turn it says that there are none.
        """
        lowest, self._lowest = self._lowest, limits.COUNTER
        if lowest >= newest_admission:
            return []
        return [attachment for attachment in self.live.values() if attachment.since > lowest]

    def frames(self, place: Place) -> Iterator[tuple[bytes, int]]:
        """Yield what was said since the last turn, each frame with how many envelopes it has.

        A frame counts as sent when the next one is asked for. The room is at ``place`` now.
        """
        if self._parts:
            self.close_frame(place)
        closed, self._closed = self._closed, []
        for parts, after in closed:
            if self.live:
                yield b"".join(parts), len(parts)
            self.sent = after
        self.sent = place

    def join(self, attachment: Attachment) -> None:
        """Let an attachment that has been told everything share from now on."""
        attachment.live = True
        self.live[attachment.session.connection] = attachment

    def leave(self, attachment: Attachment) -> None:
        """Let a live attachment share no longer: it is behind from what was sent."""
        del self.live[attachment.session.connection]
        attachment.fall_behind(self.sent)
