"""What a thief has: keys, cards and recorded traffic; and everything that he can do with them.

He knows the protocol and nothing of ``peer``. He tries every key that he has in every place where a key goes: as the
private key of a card, as a chain's key at any step, as the key of one message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol import card as cards
from protocol import envelope as ev
from protocol import seal
from protocol.chain import header
from protocol.content import Aside, ChainKey, Content, decode_room
from protocol.errors import BackchannelError
from protocol.ids import MessageId, PeerId, RoomId, SealingSecret
from protocol.primitives import Label, aead_decrypt, blake2b, derive, unpad


@dataclass
class Loot:
    """Keys of all kinds, and the cards of everybody."""

    sealing: list[bytes] = field(default_factory=list)
    """32 bytes each, which may be private sealing keys."""
    chains: list[bytes] = field(default_factory=list)
    """32 bytes each, which may be chain keys or message keys."""
    cards: list[cards.Card] = field(default_factory=list)

    def learns(self, room: RoomId, sender: PeerId, message: bytes, recipient: PeerId, body: bytes) -> None:
        """Keep what an aside brings, if it can be opened."""
        aside = self.opens_aside(room, sender, message, recipient, body)
        if aside and isinstance(aside.content, ChainKey):
            self.chains.append(aside.content.key)

    def opens_aside(self, room: RoomId, sender: bytes, message: bytes, recipient: bytes, body: bytes) -> Aside | None:
        """Open an aside with any key; None if none does."""
        for secret in self.sealing:
            try:
                unsealed = seal.unseal(body, SealingSecret(secret), cards.sealing_key(SealingSecret(secret)))
            except BackchannelError:
                continue
            route = seal.Route(
                room=room,
                message=MessageId(message),
                sender=unsealed.sender,
                sender_generation=unsealed.sender_generation,
                recipient=PeerId(recipient),
                recipient_generation=seal.recipient_generation(body),
            )
            for card in self.cards:
                if (card.owner, card.generation) == (unsealed.sender, unsealed.sender_generation):
                    return seal.open_box(unsealed, route, SealingSecret(secret), card.sealing_key)
            raise AssertionError("the outer box is open, and the sender's card is not known")
        return None

    def opens_room(self, room: RoomId, sender: bytes, message: bytes, body: bytes) -> Content | None:
        """Open a room message with any key; None if none does."""
        head = header(body)
        commitment, sealed = body[74:106], body[170:]
        aad = room + sender + message + body[:74]
        for key in self.chains:
            step = key
            for _ in range(head.counter + 1):
                for candidate in (step, derive(step, Label.MESSAGE_KEY)):
                    if blake2b(Label.COMMITMENT, aad, key=candidate) == commitment:
                        return decode_room(unpad(aead_decrypt(candidate, sealed, aad))).content
                step = derive(step, Label.CHAIN_STEP)
        return None

    def opens(self, sender: PeerId, post: ev.Post) -> Content | None:
        """Open a recorded post in any way."""
        if post.to is None:
            return self.opens_room(RoomId(post.room), sender, post.id, post.body)
        aside = self.opens_aside(RoomId(post.room), sender, post.id, post.to, post.body)
        return aside.content if aside else None

    def opens_any(self, posts: Iterable[tuple[PeerId, ev.Post]]) -> list[Content]:
        """Open whatever opens of ``posts``, over and over: what is inside may be a key to the next."""
        opened: dict[bytes, Content] = {}
        posts = list(posts)
        while True:
            before = len(opened)
            for sender, post in posts:
                if post.id not in opened and (content := self.opens(sender, post)) is not None:
                    opened[post.id] = content
                    if isinstance(content, ChainKey):
                        self.chains.append(content.key)
            if len(opened) == before:
                return list(opened.values())
