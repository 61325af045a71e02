"""Ghosts: members whom a log has that was forked before a restriction, let in by what the restriction ended.

Whoever was removed can still sign with the key of an invite that the removal ended, and anchor that where the invite
was live: such a log folds. What gives it away is another log, which holds the restriction and lacks the admission. When
two logs of a room have gone on apart, an honest admission may be lacking there as well. So it counts all the same if
the signer of the restriction knew of it (the anchor says up to where), or if its log is brought by somebody who might
have let that member in, the founder or an admin, or by two members who are in no doubt themselves.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from protocol import statement as st
from protocol.errors import BackchannelError
from protocol.ids import InviteId, PeerId
from protocol.membership import Membership, Role

if TYPE_CHECKING:
    from relay.core.revival import Log

WITNESSES: Final = 2
"""Plain members whose word is enough for an admission."""
PIECE: Final = 64
"""Statements that are looked at in one piece of work, without verifying any."""
_EVERY: Final = b""


class _Ends:
    """Restrictions that end the same grants, by their place in the log, each with the place up to which it vouches."""

    def __init__(self, restrictions: list[tuple[int, int]]) -> None:
        self._places = []
        self._least = []
        least = max(vouched for _, vouched in restrictions)
        for place, vouched in sorted(restrictions, reverse=True):
            least = min(least, vouched)
            self._places.append(-place)
            self._least.append(least)

    def cast_doubt(self, granted: int, admitted: int) -> bool:
        """Say whether one ends a grant of the place ``granted``, without vouching for its use at ``admitted``."""
        later = bisect_right(self._places, -granted - 1)
        return later > 0 and self._least[later - 1] < admitted


class Suspicion:
    """The admissions of ``log``, which is the beginning of ``membership``; behind it are restrictions of other logs."""

    def __init__(self, membership: Membership, log: Log) -> None:
        self._membership = membership
        self._log = log
        self._admits: dict[int, tuple[bytes, InviteId]] = {}
        """By place: statement id and invite."""
        self._grants: dict[InviteId, tuple[int, PeerId, int]] = {}
        """Place, granter, and the place of the granter's own ADMIT (the founder: 1)."""
        self._restrictions: dict[bytes, tuple[int, st.Anchored]] = {}
        """By statement id."""
        self.ghosts: set[int] = set()
        """The places of the ADMITs that do not count."""

    def look(self, others: Sequence[Log], brought: Sequence[tuple[Log, Collection[PeerId]]]) -> Generator[None]:
        """Find the ghosts, in pieces; ``brought`` says who brought which log, this one and ``others``."""
        # an older copy of this log knows of no restriction that was not folded here in its place
        apart = [other for other in others if not self._begins_with(other)]
        if not apart:
            return
        yield from self._read()
        for other in apart:
            yield from self._hold_against(other)
        if not self.ghosts:
            return
        self._doubt_their_guests()
        yield from self._hear_witnesses(brought)

    def _begins_with(self, other: Log) -> bool:
        length = len(other.statements)
        return length <= len(self._log.statements) and self._membership.heads[length] == other.head

    def _read(self) -> Generator[None]:
        """Note what matters here of the log; its statements have been verified."""
        entered: dict[bytes, int] = {self._membership.founder: 1}
        for place, raw in enumerate(self._membership.log[1:], 2):
            if raw[0] == st.Kind.ADMIT:
                entered[raw[1:33]] = place
                self._admits[place] = (st.statement_id(raw), InviteId(raw[33:65]))
                if place % PIECE == 0:
                    yield
                continue
            yield
            said = st.decode(raw)
            if isinstance(said, st.Grant):
                self._grants[said.invite] = (place, said.signer, entered[said.signer])
            elif isinstance(said, st.Anchored) and st.is_restriction(said):
                self._restrictions[st.statement_id(raw)] = (place, said)

    def _hold_against(self, other: Log) -> Generator[None]:
        """Doubt what ``other`` lacks although it holds what ended it."""
        known = yield from _ids(other)
        ends = self._ends(self._restrictions[said] for said in known & self._restrictions.keys())
        for place, (said, invite) in self._admits.items():
            if place % PIECE == 0:
                yield
            if said not in known:
                granted, granter, _ = self._grants[invite]
                if any(key in ends and ends[key].cast_doubt(granted, place) for key in (_EVERY, invite, granter)):
                    self.ghosts.add(place)

    def _ends(self, restrictions: Iterable[tuple[int, st.Anchored]]) -> dict[bytes, _Ends]:
        """Return them by the invite or granter whose grants they end; ``_EVERY`` is those that end all."""
        found: defaultdict[bytes, list[tuple[int, int]]] = defaultdict(list)
        for place, said in restrictions:
            vouched = said.anchor.index if self._membership.agrees(said.anchor) else 0
            match said:
                case st.Remove():
                    found[_EVERY].append((place, vouched))
                case st.Revoke():
                    found[said.invite].append((place, vouched))
                case st.Leave():
                    found[said.signer].append((place, vouched))
                case st.Role() if not self._membership.found.members_invite:
                    found[said.subject].append((place, vouched))
        return {key: _Ends(ended) for key, ended in found.items()}

    def _doubt_their_guests(self) -> None:
        for place, (_, invite) in self._admits.items():
            if self._grants[invite][2] in self.ghosts:
                self.ghosts.add(place)

    def _hear_witnesses(self, brought: Sequence[tuple[Log, Collection[PeerId]]]) -> Generator[None]:
        members = self._membership.members
        sound = {peer for peer, member in members.items() if member.since not in self.ghosts}
        witnesses: defaultdict[int, set[PeerId]] = defaultdict(set)
        for log, peers in brought:
            if credible := sound.intersection(peers):
                known = yield from _ids(log)
                for place in self.ghosts:
                    if self._admits[place][0] in known:
                        witnesses[place] |= credible
        for place, credible in witnesses.items():
            if len(credible) >= WITNESSES or any(members[peer].role >= Role.ADMIN for peer in credible):
                self.ghosts.discard(place)


def _ids(log: Log) -> Generator[None, None, set[bytes]]:
    """Return the ids of all statements of a log, whose signatures may be anything."""
    ids: set[bytes] = set()
    for place, raw in enumerate(log.statements, 1):
        if place % PIECE == 0:
            yield
        try:
            ids.add(st.statement_id(raw))
        except BackchannelError:  # what is no statement says nothing
            continue
    return ids
