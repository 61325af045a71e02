"""The one tree of errors. Nothing else may leave ``protocol``, and every command ends through one of these.

Each class has a wire ``code`` (stable, part of the contract with other programs), the ``exit_code`` of a command that
ends with it, and a ``sentence`` for a person that says what is wrong and what to do. A detail may be given when the
error is raised; it is appended to the sentence, so it must already be safe to show::

    BackchannelError               internal                1
    ├── UsageError                 usage                   2
    ├── UnreachableError           unreachable             3
    │   ├── WrongRelayKey          wrong-relay-key         3
    │   └── GoingAway              going-away              3
    ├── TimedOut                   timeout                 4
    ├── NotFound                   not-found               5
    │   ├── UnknownRoom, UnknownNick, AmbiguousNick, UnknownPeer, UnknownCard
    ├── Refused                    refused                 6
    │   ├── Malformed, WrongVersion, BadHello, NotMember, NotAllowed, Banned, RoomClosed, ...
    │   ├── Invalid statements     bad-statement, stale-anchor, invite-ended, ...
    │   └── Limits                 rate, limit-...         6
    ├── AlarmRaised                alarm                   7
    │   └── IdentityChanged        key-changed             7
    └── BadInput                                           8
        ├── BadInvite, BadAddress, BadProfile, ProfileTooNew

What can only go wrong on one program's own machine (a key file, a port that is taken, a full disk) stands beside the
code that raises it, under the class here whose exit code it shares. Such errors never cross the wire.
"""

from __future__ import annotations

from typing import ClassVar


class BackchannelError(Exception):
    """Something went wrong inside the program; this is a bug."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    sentence: ClassVar[str] = "Something went wrong inside the program. Please report it with what you did."

    def __init__(self, detail: str = "") -> None:
        """Keep ``detail``, a short text already safe to show, for the sentence."""
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        """Return the sentence for a person, with the detail."""
        return f"{self.sentence} ({self.detail})" if self.detail else self.sentence


# -- what the user asked for ------------------------------------------------------------------------------------------


class UsageError(BackchannelError):
    """The command line, or an argument of the API, makes no sense."""

    code = "usage"
    exit_code = 2
    sentence = "That can't be done as asked."


class NotFound(BackchannelError):
    """A room, nick or message that this profile or room does not know."""

    code = "not-found"
    exit_code = 5
    sentence = "There is no such thing here."


class UnknownRoom(NotFound):
    """Neither the profile nor the relay knows the room."""

    code = "unknown-room"
    sentence = "No such room: `backchannel rooms` lists yours, and an invite opens another."


class UnknownNick(NotFound):
    """Nobody in the room has that nick or id."""

    code = "unknown-nick"
    sentence = "Nobody of that name is in the room: `backchannel who ROOM` lists its members."


class AmbiguousNick(NotFound):
    """Several members have that nick."""

    code = "ambiguous-nick"
    sentence = "Several members have that nick: say which by the longer form that `backchannel who ROOM` shows."


class UnknownPeer(NotFound):
    """The addressee is not a member of the room."""

    code = "unknown-peer"
    sentence = "The addressee is not a member of the room."


class UnknownCard(NotFound):
    """The relay no longer has that card."""

    code = "unknown-card"
    sentence = "The relay does not have that card."


# -- the way to the relay ---------------------------------------------------------------------------------------------


class UnreachableError(BackchannelError):
    """The relay does not answer."""

    code = "unreachable"
    exit_code = 3
    sentence = "The relay cannot be reached: check that it runs and that its address is still right."


class WrongRelayKey(UnreachableError):
    """Something listens there, but does not have the relay's key."""

    code = "wrong-relay-key"
    sentence = "What answers at that address is not the relay you know: it has another key. Ask for a new invite."


class GoingAway(UnreachableError):
    """The relay said that it is stopping."""

    code = "going-away"
    sentence = "The relay is stopping."


class Gone(UnreachableError):
    """The connection ended before the answer came."""

    code = "gone"
    sentence = "The connection to the relay was lost before it answered."


class TimedOut(BackchannelError):
    """The asked-for state was not reached in time."""

    code = "timeout"
    exit_code = 4
    sentence = "Timed out."


# -- refusals: by the relay, the room's rules or a peer's own checks --------------------------------------------------


class Refused(BackchannelError):
    """The relay, or the rules of the room, refuse."""

    code = "refused"
    exit_code = 6
    sentence = "Refused."


class Malformed(Refused):
    """Bytes that are not what they should be: a wrong length, type, kind, depth or count."""

    code = "malformed"
    sentence = "Those bytes are not a valid message of this protocol."


class TooLarge(Refused):
    """More than the protocol carries; nothing is ever cut."""

    code = "too-large"
    sentence = "That is too large to send: nothing was cut, and nothing was sent."


class WrongVersion(Refused):
    """The other side speaks another version of the protocol."""

    code = "version"
    sentence = "The relay speaks another version of the protocol: upgrade the older side."


class BadHello(Refused):
    """The identity in HELLO is not proven for this connection."""

    code = "bad-hello"
    sentence = "The relay could not verify who is connecting."


class ClockSkewed(Refused):
    """This machine's clock and the relay's are more than five minutes apart."""

    code = "clock"
    sentence = "This clock and the relay's are more than 5 minutes apart: set the wrong one right."


class NotMember(Refused):
    """The identity does not belong to the room."""

    code = "not-member"
    sentence = "You are not a member of that room: ask for a new invite."


class NotAllowed(Refused):
    """The role does not allow it."""

    code = "not-allowed"
    sentence = "Your role in the room does not allow that."


class MayNotFound(Refused):
    """The relay's operator lets others found rooms, not this identity."""

    code = "not-a-founder"
    sentence = "That relay opens no rooms of yours: ask whoever runs it to allow what `backchannel whoami` shows."


class FounderStays(NotAllowed):
    """The founder cannot leave, be removed or change roles."""

    code = "founder"
    sentence = "The founder can't leave or be removed: close it with `backchannel close ROOM`."


class Banned(Refused):
    """The identity may never enter this room again."""

    code = "banned"
    sentence = "You were banned from that room."


class RoomClosed(Refused):
    """Its founder closed the room for good."""

    code = "closed"
    sentence = "That room was closed by its founder."


class BadSignature(Refused):
    """A signature does not verify."""

    code = "bad-signature"
    sentence = "A signature does not verify."


class BadStatement(Refused):
    """A statement that the room's rules do not admit."""

    code = "bad-statement"
    sentence = "The rules of the room do not admit that."


class AlreadyStated(BadStatement):
    """The same statement is in the log already."""

    code = "already-stated"
    sentence = "That was said already."


class AlreadyMember(BadStatement):
    """An ADMIT of somebody who is in."""

    code = "already-member"
    sentence = "You are in that room already."


class StaleAnchor(BadStatement):
    """A statement names a head that is not the log's, or is older than the latest restriction."""

    code = "stale-anchor"
    sentence = "The room changed meanwhile: try again."


class StaleRoster(Refused):
    """A post from before the latest removal."""

    code = "stale-roster"
    sentence = "Somebody was removed meanwhile: the message must be encrypted again."


class InviteEnded(BadStatement):
    """The invite was revoked, ended by a removal, or never granted."""

    code = "invite-ended"
    sentence = "That invite admits no one any more: ask for a new one."


class InviteSpent(InviteEnded):
    """The invite has no uses left."""

    code = "invite-spent"
    sentence = "That invite has been used up: ask for a new one."


class InviteExpired(InviteEnded):
    """The invite's time has passed."""

    code = "invite-expired"
    sentence = "That invite has expired: ask for a new one."


class BadCard(Refused):
    """A card that is malformed, wrongly signed, too old, too far ahead or of a low-order key."""

    code = "bad-card"
    sentence = "That card is not valid."


class OlderCard(BadCard):
    """A valid card of an older generation than the one held. No alarm; never sealed to."""

    code = "older-card"
    sentence = "A newer card of that member is known."


class CardConflict(BadCard):
    """Two different cards of one generation: its owner, or who holds its key, lies."""

    code = "card-conflict"
    sentence = "Two different cards of the same generation were signed."


class CannotOpen(Refused):
    """A body that does not open, or whose inside contradicts its outside."""

    code = "cannot-open"
    sentence = "A message could not be opened."


class NoKey(CannotOpen):
    """The key that would open it is not held, or no longer."""

    code = "no-key"
    sentence = "The key for that message is not held any more."


class Expired(Refused):
    """A member's card has expired: it has not been here for a day, and nothing can be sealed for it."""

    code = "expired"
    sentence = "That member has not been here for a day, so nothing can be sealed for it until it comes back."


class Limit(Refused):
    """A bound of the relay was reached."""

    code = "limit"
    sentence = "A limit of the relay was reached."


class RateLimited(Limit):
    """Too many posts or bytes in too short a time."""

    code = "rate"
    sentence = "That was too much in too short a time: wait a little and try again."


class TooManyConnections(Limit):
    """The relay is full, or this identity or address has too many connections."""

    code = "limit-connections"
    sentence = "The relay takes no more connections now: try again later."


class TooManyRooms(Limit):
    """The relay, or this founder, has too many rooms."""

    code = "limit-rooms"
    sentence = "The relay takes no more rooms."


class TooManyMembers(Limit):
    """The room is full."""

    code = "limit-members"
    sentence = "The room is full."


class TooManyStatements(Limit):
    """A signer, an invite or the room has made too many statements."""

    code = "limit-statements"
    sentence = "Too many statements were made in that room."


class TooManyCards(Limit):
    """The relay has no memory left for the cards of that room."""

    code = "limit-cards"
    sentence = "The relay has no memory left for your key in that room: try again later."


# -- what a person must decide about ----------------------------------------------------------------------------------


class AlarmRaised(BackchannelError):
    """Something that honest parties do not do was seen; sending stops until it is answered."""

    code = "alarm"
    exit_code = 7
    sentence = "An alarm stands in this room, so nothing is sent: `backchannel who ROOM` says what was seen."


class IdentityChanged(AlarmRaised):
    """A nick now belongs to another identity than before."""

    code = "key-changed"
    sentence = "That nick belonged to another identity: compare the safety number before you accept it."


class WrongNumber(AlarmRaised):
    """The number that was compared is not this identity's."""

    code = "wrong-number"
    sentence = (
        "That is not this member's safety number: whoever showed it to you is somebody else. Nothing was accepted."
    )


# -- what was typed or stored -----------------------------------------------------------------------------------------


class BadInput(BackchannelError):
    """An invite, an address or a profile that is no use."""

    code = "bad-input"
    exit_code = 8
    sentence = "That can't be read."


class BadInvite(BadInput):
    """An invite word that is damaged, or does not fit the room it leads to."""

    code = "bad-invite"
    sentence = "That is not a whole, undamaged invite: copy it again, all of it."


class BadAddress(BadInput):
    """A relay address that is not HOST:PORT/KEY."""

    code = "bad-address"
    sentence = "That is not a relay address: it looks like HOST:PORT/KEY, as `backchannel-relay run` prints it."


class BadProfile(BadInput):
    """A profile that can't be read or written."""

    code = "bad-profile"
    sentence = "The profile can't be used."


class ProfileTooNew(BadProfile):
    """A profile written by a newer version of the program."""

    code = "profile-too-new"
    sentence = "The profile was written by a newer version of this program: upgrade the program. Nothing was changed."


def _tree(root: type[BackchannelError]) -> dict[str, type[BackchannelError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_CODE: dict[str, type[BackchannelError]] = _tree(BackchannelError)
"""Every error by its wire code."""


def from_code(code: str) -> BackchannelError:
    """Return the error for a ``code`` that came from the wire; an unknown one is a plain ``Refused`` that names it.

    So is one that only this side could find: a relay says that it refuses, that it knows nothing of it or that it is
    stopping, and cannot make a program report an alarm, a damaged profile or a bug.
    """
    known = BY_CODE.get(code)
    if known is None or not issubclass(known, (Refused, NotFound, GoingAway)):
        return Refused("".join(c for c in code[:40] if c.isascii() and (c.isalnum() or c == "-")))
    return known()
