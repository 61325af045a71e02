"""The way of posts from one member to the room or to another member.

Whatever has to be looked up before a post may go there is looked up when the way is opened, and serves all the posts of
a frame that go there too: a busy sender's frame holds hundreds. A way is good until something other than a post is
carried out, or the frame ends, for nothing else changes who belongs to the room or what is kept of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol import wire
from protocol.envelope import Kind
from protocol.errors import Malformed, RateLimited, StaleRoster, UnknownPeer

if TYPE_CHECKING:
    from protocol.envelope import Post
    from protocol.ids import PeerId
    from relay.core.budget import Budgets
    from relay.core.counts import Counts
    from relay.core.room import Room

_MESSAGE: Final = int(Kind.MESSAGE)


class Way:
    """See the module's text. ``room`` is one that ``sender`` belongs to; ``time`` is ``now`` by the relay's clock."""

    __slots__ = (
        *("_bucket", "_counts", "_flags", "_fresh", "_ids", "_lane", "_newest", "_now", "_oldest", "_others"),
        *("_room", "_sender", "_stream", "_time", "_to"),
    )

    def __init__(
        self, room: Room, sender: PeerId, post: Post, budgets: Budgets, counts: Counts, now: int, time: int
    ) -> None:
        """Open the way that ``post`` wants to go; raise ``UnknownPeer`` or ``Malformed``."""
        membership = room.membership
        self._room, self._sender, self._counts, self._now, self._time = room, sender, counts, now, time
        self._to = to = post.to
        self._flags = flags = post.flags
        self._newest = len(membership.log)
        if to is None:
            if flags:
                raise Malformed
            self._oldest = membership.last_departure
            self._bucket = budgets.talk.open(sender, now)
            self._stream = room.stream
            self._fresh: list[list[bytes]] = []
        else:
            addressee = membership.members.get(to)
            if addressee is None:
                raise UnknownPeer
            if to == sender:
                raise Malformed
            # a sender that names less knows an earlier membership of the addressee at best: delivered it could not be
            self._oldest = addressee.since
            self._bucket = (budgets.chain_keys if flags else budgets.asides).open(sender + to, now)
            self._stream = room.inbox(to)
            self._fresh = room.listening(to)
        self._lane, self._others = self._stream.lane(sender, flags)
        self._ids = self._lane.ids

    def leads(self, post: Post) -> bool:
        """Say whether ``post`` goes this way too."""
        return post.to == self._to and post.room == self._room.id and post.flags == self._flags

    def carry(self, post: Post) -> None:
        """Deliver a post, unless it is known by its id; raise ``Malformed``, ``StaleRoster`` or ``RateLimited``."""
        name, index, body = post.id, post.index, post.body
        if name in self._ids or name in self._others:
            return
        if index < self._oldest:
            raise StaleRoster
        if index > self._newest:
            raise Malformed
        if not self._bucket.take(len(body)):
            raise RateLimited
        room, sender, stream = self._room, self._sender, self._stream
        direct = self._to is not None
        message = wire.pack(_MESSAGE, room.id, sender, direct, stream.number + 1, self._time, name, body)
        if direct:
            self._counts.asides += 1
            for fresh in self._fresh:
                fresh.append(message)
        else:
            self._counts.posts += 1
            room.say(message, index)
        stream.add((self._now, index, sender, name, message), self._lane)
