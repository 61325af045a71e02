"""The published attacks on systems like this one: what each is, where it was published, what answers it here, and which
tests fail when that answer is taken out.

A ``Cut`` is a defence taken out: in one function, one line becomes another. Each of its tests must fail then, and
``make attacks`` sees to it: it makes every cut in a copy of the source and runs the tests that are named beside it.
Where an attack is stopped twice, each of the two is cut by itself if its loss alone lets the attack through, and both
together if it does not. The numbers are our own and never change: tests name them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Edit:
    """In ``file``, inside ``where`` (a function, a class, or nothing: the module), ``line`` becomes ``instead``."""

    file: str
    where: str
    line: str
    instead: str


@dataclass(frozen=True)
class Cut:
    """Edits that take out one defence, and the tests that fail without it; their paths are relative to ``tests``."""

    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Attack:
    """One published attack. ``also`` are tests of the same attack that stand on other defences as well."""

    number: int
    what: str
    published: str
    answer: str
    cuts: tuple[Cut, ...]
    also: tuple[str, ...] = field(default=())

    @property
    def tests(self) -> list[str]:
        """Every test of this attack."""
        return list(dict.fromkeys([*(test for cut in self.cuts for test in cut.tests), *self.also]))


def cut(file: str, where: str, line: str, instead: str, *tests: str) -> Cut:
    """Take one line out."""
    return Cut((Edit(file, where, line, instead),), tests)


_CARD = "protocol/card.py"
_CHAIN = "protocol/chain.py"
_CONTENT = "protocol/content.py"
_IDENTITY = "protocol/identity.py"
_MEMBERSHIP = "protocol/membership.py"
_SEAL = "protocol/seal.py"
_SEALED = "protocol/test_seal.py::test_attack_"
_CHAINED = "protocol/test_chain.py::test_attack_"
_INBOX = "peer/core/inbox.py"
_OUTBOX = "peer/core/outbox.py"
_OPENING = "peer/core/opening.py"
_PEOPLE = "peer/core/people.py"
_ROSTER = "peer/core/roster.py"

_CLAIM_3 = "claims/test_claim_3_no_swapped_keys_no_ghosts.py::test_"
_CLAIM_5 = "claims/test_claim_5_yesterdays_keys.py::test_"
_CLAIM_6 = "claims/test_claim_6_removed_reads_nothing.py::test_"
_REAL_ROUTER = "claims/test_behind_the_real_router.py::test_"
_CLAIM_8 = "claims/test_claim_8_replay_reorder_loss.py::test_"
_EVERY_LIE = _CLAIM_3 + "every_peer_refuses_with_an_alarm_that_stands_until_it_is_answered"


def _without_in_aad(sent: str, received: str = "") -> tuple[Edit, Edit]:
    """Leave a part out of what is authenticated beside a room message, at both ends."""
    made, opened = "self._room + self._sender + message_id + clear", "self.room + self.sender + message_id + clear"
    return (
        Edit(_CHAIN, "SendingChain.encrypt", f"aad = {made}", f"aad = {made.replace(sent, '')}"),
        Edit(_CHAIN, "ReceivedChain.open", f"aad = {opened}", f"aad = {opened.replace(received or sent, '')}"),
    )


_NO_CONTEXT = Edit(
    _SEAL,
    "open_box",
    "    if context != route.context(aside.content.KIND):\n",
    "    if False:\n",
)

ATTACKS: Final = (
    Attack(
        1,
        "Whoever was sent an authenticated text hands it on to somebody else as if it had been written to them.",
        "D. Davis, “Defective Sign & Encrypt in S/MIME, PKCS#7, MOSS, PEM, PGP, and XML”, USENIX ATC 2001",
        "An aside names its recipient in the context inside, and its inner box is keyed to that recipient.",
        (
            Cut(
                (_NO_CONTEXT,),
                (
                    _SEALED + "1_bob_reflects_alice_s_words_to_her",
                    _SEALED + "18_the_context_inside_holds_by_itself_when_all_outside_was_made_to_fit",
                ),
            ),
        ),
        (
            _SEALED + "1_bob_seals_alice_s_words_again_for_carol",
            _CLAIM_8 + "an_aside_that_is_sealed_again_for_another_is_refused",
            _CLAIM_8 + "a_member_who_posts_what_others_said_is_not_taken_for_them",
            "interop/test_interop.py::test_an_aside_that_bob_seals_again_for_carol_is_refused",
        ),
    ),
    Attack(
        2,
        "Eve publishes Alice's public key as her own, so that what is meant for Eve, or comes from Alice, is attributed"
        " to the wrong one of the two.",
        "S. Blake-Wilson, A. Menezes, “Unknown Key-Share Attacks on the Station-to-Station Protocol”, PKC 1999;"
        " Matrix's specification, on why the inside of an Olm message names both sides",
        "The context inside an aside names both peer ids, and the sender's key is that of the card of the id inside.",
        (
            cut(
                _SEAL,
                "Route.context",
                "people = (self.sender, self.recipient,",
                "people = (self.sender, self.sender,",
                "attacks/test_unknown_key_share.py::test_attack_2_what_bob_whispers_to_eve_is_not_taken_by_alice_for_hers",
            ),
            Cut(
                (_NO_CONTEXT,),
                (_SEALED + "2_eve_publishes_alice_s_sealing_key_as_hers",),
            ),
            cut(
                _OPENING,
                "Opener.aside",
                "if unsealed.sender != message.sender:",
                "if False:",
                "attacks/test_unknown_key_share.py::test_attack_2_what_alice_whispers_is_never_eves",
            ),
        ),
        (_SEALED + "2_eve_names_alice_in_a_box_of_her_own",),
    ),
    Attack(
        3,
        "A content meant for one channel is accepted in another: a key sent in a room message, a text as a key.",
        "CVE-2022-39251; Albrecht, Celi, Dowling, Jones, “Practically-exploitable Cryptographic Vulnerabilities in"
        " Matrix”, IEEE S&P 2023",
        "Each channel has its own table of contents that decode in it, and an aside's kind is part of its context.",
        (
            cut(
                _CONTENT,
                "decode_room",
                "_ROOM_CHECKS, _ROOM)",
                "_ROOM_CHECKS, _ASIDES)",
                "protocol/test_content.py::test_attack_3_a_kind_in_the_wrong_channel_is_refused",
                _CHAINED + "3_what_is_no_room_message_is_refused_though_its_owner_encrypted_it",
            ),
            Cut(
                (_NO_CONTEXT,),
                (_SEALED + "3_a_kind_that_says_it_is_another_is_refused",),
            ),
        ),
        (
            "protocol/test_content.py::test_attack_3_an_aside_is_no_room_message_and_the_reverse",
            _SEALED + "3_a_room_message_is_no_aside",
        ),
    ),
    Attack(
        4,
        "A name that somebody chooses is taken for an identifier or a key: one calls itself by another's fingerprint.",
        "CVE-2022-39250 (device identifiers and key identifiers in Matrix's verification)",
        "A word of the shape of an id or fingerprint is compared with ids alone; no such nick can be chosen, and one"
        " that is received is shown with other dashes.",
        (
            cut(
                _PEOPLE,
                "People.find",
                "if identity.looks_like_id(word):",
                "if False:",
                "peer/test_roster.py::test_a_nick_shaped_like_an_id_or_fingerprint_or_label_never_passes_for_one",
            ),
            cut(
                "protocol/names.py",
                "check_nick",
                "    if looks_like_id(nick):\n",
                "    if False:\n",
                "protocol/test_names.py::test_attack_4_a_nick_shaped_like_a_fingerprint_is_refused",
            ),
            cut(
                "peer/text.py",
                "safe_nick",
                "if _FINGERPRINT.fullmatch(name):",
                "if False:",
                "peer/test_text.py::test_nicks_are_held_to_more",
            ),
        ),
        (_CLAIM_3 + "a_nick_that_was_anothers_gets_no_asides_until_it_is_accepted",),
    ),
    Attack(
        5,
        "The server adds a member of its own making to a group, and everybody encrypts to it.",
        "P. Rösler, C. Mainka, J. Schwenk, “More is Less”, EuroS&P 2018 (ePrint 2017/713): WhatsApp, Threema; Albrecht"
        " et al. 2023: Matrix",
        "Members are who the fold of signed statements says: it admits by a granted invite alone, and grants of those"
        " who may. A card of anybody else is an alarm, and nobody seals to it.",
        (
            cut(
                _MEMBERSHIP,
                "Membership._check_rules",
                "self._need(said.signer, Role.MEMBER if self.found.members_invite else Role.ADMIN)",
                "pass",
                "peer/test_roster.py::test_an_invented_member_is_refused_with_an_alarm_and_nobody_seals_to_it",
                _EVERY_LIE + "[invented_with_a_member]",
            ),
            cut(
                _ROSTER,
                "Roster.take_card",
                "if not self.belonged(card.owner):",
                "if False:",
                "peer/test_roster.py::test_a_card_of_somebody_who_never_belonged_is_an_alarm_and_is_not_taken",
                _EVERY_LIE + "[stranger]",
            ),
            cut(
                _MEMBERSHIP,
                "Membership._check_entry",
                "raise errors.InviteEnded",
                "grant = st.Grant(self.founder, self.room, self.anchor, admit.invite, 0, 0)",
                _EVERY_LIE + "[invented_member]",
                _EVERY_LIE + "[ended_invite]",
            ),
        ),
        (
            "interop/test_interop.py::test_a_ghost_member_is_refused",
            _REAL_ROUTER + "claim_3_a_ghost_is_refused_and_told_and_stops_sending_until_that_is_answered",
        ),
    ),
    Attack(
        6,
        "A removed member, or the server for it, replays an old admission or state of the group and is in again.",
        "P. Rösler, C. Mainka, J. Schwenk, “More is Less”, EuroS&P 2018 (ePrint 2017/713)",
        "What is in the log is refused again, a removal ends every invite granted before it, and an admission has to be"
        " anchored after the latest departure of who enters. What a restarted relay forgot is brought back or alarms.",
        (
            cut(
                _MEMBERSHIP,
                "Membership.check",
                "if self.knows(raw):",
                "if False:",
                _EVERY_LIE + "[replayed_removal]",
                "protocol/test_membership.py::test_what_is_in_the_log_is_refused_again",
            ),
            cut(
                _MEMBERSHIP,
                "Membership.grant",
                "self._latest[st.Remove], ",
                "0, ",
                _CLAIM_3
                + "a_removed_member_whom_the_relay_lets_in_again_is_refused[a new ADMIT by the invite that he had]",
                "protocol/test_membership.py::test_a_removal_ends_every_invite_granted_before_it",
            ),
            cut(
                _MEMBERSHIP,
                "Membership._check_entry",
                "self._check_anchor(admit, self.left.get(admit.signer, 0))",
                "pass",
                "protocol/test_membership.py::test_attack_6_whoever_left_comes_back_only_by_an_admission_made_since",
            ),
            cut(
                "peer/core/restrictions.py",
                "Restrictions.gone",
                "if kept.goes is not None and kept.is_back}",
                "if False}",
                _CLAIM_3 + "an_old_log_after_a_restart_lets_nobody_in_again",
            ),
        ),
        ("peer/test_roster.py::test_a_removed_member_is_not_let_in_again_by_its_old_admission",),
    ),
    Attack(
        7,
        "A second state of the same number replaces the first: the newest is not the one that was agreed on.",
        "BitChat's group code, which took a key update of an equal epoch",
        "Two cards of one generation are an alarm that names their signer, and the first stands.",
        (
            cut(
                _CARD,
                "check_newer",
                "if new.raw != held.raw:",
                "if False:",
                "protocol/test_card.py::test_attack_7_two_cards_of_one_generation_are_an_alarm_and_the_first_stands",
                "peer/test_roster.py::test_two_cards_of_one_generation_the_first_stands_and_its_owner_is_named",
                _EVERY_LIE + "[two_cards_of_one_generation]",
            ),
            cut(
                "peer/core/cards.py",
                "Cards.keep",
                "if same and same.raw != card.raw:",
                "if False:",
                "peer/test_roster.py::test_another_card_of_a_superseded_generation_is_the_same_lie",
            ),
        ),
        ("interop/test_interop.py::test_a_substituted_card_is_refused",),
    ),
    Attack(
        8,
        "The server delivers in another order, or leaves something out, and nobody can tell.",
        "K. Paterson, M. Scarlata, K. Truong, “Three Lessons From Threema”, USENIX Security 2023",
        "Counters are inside what the sender authenticates: what is missing is told as a gap, what comes late as such.",
        (
            cut(
                _INBOX,
                "Inbox._record",
                "if self._overtakes(opened) or overdue:",
                "if False:",
                _CLAIM_8 + "messages_in_another_order_are_shown_as_such",
                _CLAIM_8 + "a_message_held_back_until_the_next_chain_is_shown_as_such",
            ),
            cut(
                "peer/core/gaps.py",
                "Gaps.count",
                "self._note_missing(sender, stream, counter, given_up, now, known=False)",
                "pass",
                _CLAIM_8 + "a_lost_message_is_a_gap",
                _CLAIM_8 + "the_loss_of_the_very_last_aside_shows_with_the_next",
            ),
            cut(
                "peer/core/gaps.py",
                "Gaps.ended",
                "if self._note_missing(sender, chain, count, (), now, known=True):",
                "if False:",
                _CLAIM_8 + "the_loss_of_the_very_last_message_shows_with_the_next[600000]",
            ),
        ),
        (_REAL_ROUTER + "claim_8_the_loss_of_the_last_message_shows_with_the_next",),
    ),
    Attack(
        9,
        "What was delivered long ago comes again after the receiver has lost its memory of it.",
        "K. Paterson, M. Scarlata, K. Truong, “Three Lessons From Threema”, USENIX Security 2023",
        "What was seen is recorded in the profile before it is shown, for as long as a key lives that could open it.",
        (
            cut(
                _INBOX,
                "Inbox._is_wanted",
                "        if self._reading is Reading.UNSHOWN:\n",
                "        return True\n        if self._reading is Reading.UNSHOWN:\n",
                _CLAIM_8 + "a_replay_after_the_receiver_restarts_is_not_displayed_again",
            ),
            cut(
                "peer/keys.py",
                "bury",
                "DELETE FROM seen WHERE stream = x'' AND NOT EXISTS (SELECT 1 FROM sealing_keys AS k \"\n"
                '            "WHERE k.room = seen.room AND k.generation = seen.generation)"',
                "DELETE FROM seen WHERE stream = x'' \"",
                _CLAIM_8 + "a_replay_long_after_is_displayed_to_nobody",
            ),
        ),
        ("peer/test_inbox.py::test_a_replay_after_the_receiver_restarts_is_not_shown_again",),
    ),
    Attack(
        10,
        "A signature or key agreement made for one protocol is valid in another: the server's login challenge is a"
        " message.",
        "K. Paterson, M. Scarlata, K. Truong, “Three Lessons From Threema”, USENIX Security 2023",
        "Every signature and hash is made under a label of its own, and no label is the beginning of another's bytes.",
        (
            cut(
                _IDENTITY,
                "_labelled",
                'return label.value + b"\\0" + content',
                "return content",
                "protocol/test_identity.py::test_attack_10_a_signature_made_for_one_purpose_never_serves_another",
                "protocol/test_statement.py::test_attack_10_one_kind_never_passes_for_another",
            ),
            cut(
                "relay/core/core.py",
                "Core._hello",
                "            verify(peer, Label.HELLO, hello_content(self._key, session.transport), hello.signature)\n",
                "",
                "relay/test_router.py::test_a_hello_serves_for_one_connection",
                "relay/test_router.py::test_nobody_gets_in_under_anothers_name",
            ),
            cut(
                "protocol/primitives.py",
                "Label",
                'ROOM_ID = b"bc1 room id"',
                'ROOM_ID = b"bc1 head"',
                "protocol/test_primitives.py::test_labels_are_distinct_fit_the_person_of_blake2b_and_stay_so_when_padded_with_zeros",
            ),
        ),
        (
            "protocol/test_identity.py::test_attack_10_no_content_can_move_into_the_label",
            _SEALED + "10_nothing_that_alice_signs_is_in_an_aside_and_no_context_is_what_she_signs",
        ),
    ),
    Attack(
        11,
        "A connection that is lost at the right time makes the client send again in another order.",
        "M. Albrecht, L. Mareková, K. Paterson, I. Stepanovs, “Four Attacks and a Proof for Telegram”, IEEE S&P 2022",
        "What was not accepted is sent again in its order, under its id, and its counters stand inside.",
        (
            cut(
                _OUTBOX,
                "Outbox.flush",
                "sorted(self._pending.values(),",
                "sorted(reversed(list(self._pending.values())),",
                _CLAIM_8 + "what_is_sent_again_after_a_reconnect_keeps_its_order",
                "peer/test_outbox.py::test_what_is_sent_again_after_a_cut_keeps_its_order_and_comes_once",
            ),
        ),
        ("e2e/test_cut_cable.py::test_cut_again_and_again_nothing_is_lost_or_shown_twice",),
    ),
    Attack(
        12,
        "A message of a ratchet is delivered twice and shown twice.",
        "Megolm's specification, “Message replays”",
        "A message is shown once by (sender, id), and once by its counter in its stream.",
        (
            cut(
                "peer/store.py",
                "",
                "CREATE UNIQUE INDEX seen_counter ON seen",
                "CREATE INDEX seen_counter ON seen",
                _CLAIM_8 + "a_member_who_uses_a_counter_twice_is_told_and_displayed_once",
            ),
            Cut(
                _without_in_aad("message_id + "),
                (_CHAINED + "12_a_body_shown_again_is_the_same_message_and_never_another",),
            ),
        ),
        (
            _CLAIM_8 + "each_message_delivered_twice_is_displayed_once",
            "interop/test_interop.py::test_a_replay_is_refused",
        ),
    ),
    Attack(
        13,
        "A message that claims to be far ahead makes its receiver step its ratchet for a long time, or store keys.",
        "RFC 9420 (MLS), section 15.3, on generations far ahead",
        "A chain has a thousand steps and no more; the signature is verified before the first; no key is stored."
        " Counters of asides are only compared.",
        (
            cut(
                _CHAIN,
                "header",
                "if counter >= limits.CHAIN_MESSAGES or index >= limits.COUNTER:",
                "if index >= limits.COUNTER:",
                _CHAINED + "13_a_counter_of_a_thousand_or_more_is_refused_in_constant_work",
            ),
            cut(
                _CHAIN,
                "ReceivedChain.open",
                "            verify(self.state.verify_key, Label.ROOM_MESSAGE, aad + commitment + sealed, signature)\n",
                "            pass\n",
                _CHAINED + "13_nobody_but_the_chain_s_owner_makes_a_receiver_step_at_all",
            ),
            cut(
                "peer/core/gaps.py",
                "Gaps._note_missing",
                "if upto - first > _JUMP or self._missing(sender) > _MISSING:",
                "if upto - first > _JUMP:",
                "peer/test_hostile_members.py::test_jumping_counters_make_nobody_search_for_what_never_was",
            ),
        ),
        (
            _CLAIM_8 + "absurd_counters_cost_no_time_and_hide_nothing_for_ever",
            "peer/test_inbox.py::test_counters_far_ahead_are_told_as_one_and_cost_nothing",
        ),
    ),
    Attack(
        14,
        "A key of low order makes a key agreement come out as zero whatever the other side's key is, or makes it fail"
        " where nobody expects that.",
        "RFC 7748, section 6.1; libsodium refuses it with an error at the sender",
        "A card with such a key is refused with an alarm that names its owner; a sender who meets one lives on.",
        (
            cut(
                _CARD,
                "Card.decode",
                "if is_low_order(card.sealing_key):",
                "if False:",
                "protocol/test_card.py::test_attack_14_a_card_with_a_low_order_key_is_refused",
                "peer/test_roster.py::test_a_card_of_low_order_flags_its_owner_and_the_sender_lives",
                _EVERY_LIE + "[low_order_key]",
            ),
            cut(
                _SEAL,
                "seal",
                "except nacl.exceptions.CryptoError:",
                "except KeyError:",
                _SEALED + "14_a_low_order_key_harms_whoever_published_it_and_nobody_else",
            ),
        ),
    ),
    Attack(
        15,
        "Input shorter than what a cipher adds, or of another type, ends the program by an error that nobody catches.",
        "PyNaCl's bindings, which raise ValueError or TypeError, not CryptoError, for such input",
        "Lengths and types are checked first: nothing but our own refusals leaves ``protocol``.",
        (
            cut(
                "protocol/primitives.py",
                "aead_decrypt",
                "except (nacl.exceptions.CryptoError, ValueError):",
                "except nacl.exceptions.CryptoError:",
                "protocol/test_primitives.py::test_short_input_is_refused_like_any_other",
                _CHAINED + "15_a_signed_body_with_a_short_ciphertext_is_refused",
            ),
            cut(
                _SEAL,
                "recipient_generation",
                '    if len(body) < OVERHEAD:\n        raise CannotOpen("too short")\n',
                "",
                _SEALED + "15_short_bodies_are_refused",
            ),
            cut(
                _CHAIN,
                "header",
                '    if len(body) <= _HEADER.size:\n        raise CannotOpen("too short")\n',
                "",
                _CHAINED + "15_short_bodies_are_refused",
            ),
            cut(
                "protocol/statement.py",
                "_split",
                "if not raw or raw[0] not in _FORMS:",
                "if raw[0] not in _FORMS:",
                "protocol/test_statement.py::test_attack_15_short_rubbish_is_refused",
                "protocol/test_membership.py::test_attack_15_rubbish_changes_nothing",
            ),
        ),
        (
            _SEALED + "15_every_cut_of_a_body_is_refused",
            _SEALED + "15_every_short_inside_is_refused",
            _CHAINED + "15_every_cut_and_every_flipped_bit_is_refused",
            "protocol/test_statement.py::test_attack_15_every_cut_of_a_statement_is_refused",
            "protocol/test_card.py::test_attack_15_every_cut_of_a_card_is_refused",
            "protocol/test_envelope.py::test_attack_15_short_frames_of_every_byte_are_refused",
            "peer/test_inbox.py::test_rubbish_in_a_body_is_missed_and_nothing_more",
            "relay/test_router.py::test_whoever_sends_rubbish_hears_so_and_is_cut",
            _CLAIM_8 + "a_member_who_posts_garbage_ends_nobodys_program",
        ),
    ),
    Attack(
        16,
        "A name stays trusted when the key under it changes: the identity is only decoration.",
        "BitChat's early favourites, by A. Radocea's review of July 2025",
        "A nick that was another identity's is shown as such, and asides to it stop until the user accepts.",
        (
            cut(
                "peer/core/room.py",
                "RoomCore.check_sendable",
                "if self.roster.people.is_impostor(peer):",
                "if False:",
                "peer/test_outbox.py::test_asides_to_a_nick_that_was_anothers_stop_until_it_is_accepted",
                _CLAIM_3 + "a_nick_that_was_anothers_gets_no_asides_until_it_is_accepted",
                "cli/test_moderation.py::test_a_nick_that_was_anothers_gets_nothing_until_it_is_accepted",
            ),
            cut(
                _PEOPLE,
                "fold_nick",
                'return safe_nick(unicodedata.normalize("NFKC", nick)).casefold() if nick else ""',
                "return nick",
                "peer/test_roster.py::test_a_nick_that_only_looks_different_is_the_same_nick",
            ),
        ),
    ),
    Attack(
        17,
        "The user compares one key, and the program marks another, or every one of that name, as verified.",
        "siggy #144 (trustAllKnownKeys)",
        "Only the number that was compared is accepted, and it marks exactly the identity that it was computed from.",
        (
            cut(
                "peer/moderation.py",
                "Moderated.verify",
                '        if "".join(number.split()) != "".join(self.safety_number(person).split()):\n'
                "            raise WrongNumber\n",
                "",
                "cli/test_moderation.py::test_only_the_number_of_that_identity_is_accepted",
                "attacks/test_verification.py::test_attack_17_a_name_that_changed_hands_is_not_verified_by_the_old_number",
            ),
            cut(
                "protocol/identity.py",
                "safety_number",
                'b"".join(sorted((one, other)))',
                'b"".join(sorted((one, other))[:1])',
                "protocol/test_identity.py::test_a_safety_number_is_of_these_two_and_no_others",
            ),
        ),
        ("peer/test_roster.py::test_verified_is_said_of_exactly_who_was_compared",),
    ),
    Attack(
        18,
        "What was said, signed or published in one room is shown in another.",
        "Cable, the protocol of Cabal, where it was looked for",
        "Statements and cards name their room, an aside's context and a room message's associated data hold it.",
        (
            cut(
                _MEMBERSHIP,
                "Membership.check",
                "if said.room != self.room:",
                "if False:",
                "protocol/test_membership.py::test_attack_18_another_room_s_statements_are_refused",
                _EVERY_LIE + "[statement_of_another_room]",
            ),
            cut(
                _CARD,
                "Card.decode",
                "if card.room != room:",
                "if False:",
                "peer/test_roster.py::test_a_card_of_another_room_is_refused",
                _EVERY_LIE + "[card_of_another_room]",
            ),
            cut(
                _SEAL,
                "Route.context",
                "kind, self.room, self.message",
                "kind, bytes(32), self.message",
                _SEALED + "18_an_aside_opens_on_its_own_route_alone[room]",
                _SEALED + "18_the_context_inside_holds_by_itself_when_all_outside_was_made_to_fit[room]",
            ),
            Cut(
                (
                    *_without_in_aad("self._room + ", "self.room + "),
                    Edit(_CHAIN, "chain_id", "room + sender + verify_key", "sender + verify_key"),
                ),
                (_CHAINED + "18_a_message_opens_in_its_room_as_its_sender_s_under_its_id_alone",),
            ),
        ),
        (
            _CHAINED + "18_nor_with_the_name_of_the_chain_made_to_fit",
            _CLAIM_8 + "a_message_of_another_room_is_nothing_here",
        ),
    ),
    Attack(
        19,
        "Whoever introduces two people hands each a key of its own instead of the other's.",
        "SimpleX Messaging Protocol's specification, on the one who passes the invitation",
        "A card is signed by the identity that it belongs to, and a member is the identity that signed its own ADMIT.",
        (
            cut(
                _CARD,
                "Card.decode",
                "        verify(owner, Label.CARD, owner + body, signature)\n",
                "",
                "protocol/test_card.py::test_attack_19_a_card_changed_anywhere_is_refused",
                "peer/test_roster.py::test_a_forged_or_altered_card_is_the_relays_lie",
                _EVERY_LIE + "[introduced]",
                _EVERY_LIE + "[swapped_card]",
            ),
        ),
        ("interop/test_interop.py::test_a_substituted_card_is_refused",),
    ),
    Attack(
        20,
        "Receipts tell an observer who talks to whom: they answer at once, and look like nothing else.",
        "I. Martiny, G. Kaptchuk, A. Aviv, D. Roche, E. Wustrow, “Improving Signal's Sealed Sender”, NDSS 2021",
        "Receipts can be switched off, are asides of the size of a short text, and leave up to a second late.",
        (
            cut(
                _OUTBOX,
                "Outbox.flush",
                "if pending.out or pending.due > now:",
                "if pending.out:",
                "attacks/test_receipts.py::test_attack_20_a_receipt_leaves_when_it_is_due_and_not_at_once",
            ),
            cut(
                "peer/api.py",
                "Peer.attach",
                "random.randrange(_RECEIPT_JITTER)",
                "0",
                "attacks/test_receipts.py::test_attack_20_the_program_draws_a_delay_for_every_receipt",
            ),
            cut(
                "peer/api.py",
                "Peer.attach",
                "if receipts and reading is not Reading.NOTHING:",
                "if reading is not Reading.NOTHING:",
                "attacks/test_receipts.py::test_attack_20_a_program_that_is_told_so_sends_none",
            ),
            cut(
                "peer/cli/messages.py",
                "listen",
                "receipts=not no_receipts",
                "receipts=True",
                "attacks/test_receipts.py::test_attack_20_a_command_that_is_told_so_sends_none",
            ),
            Cut(
                (
                    Edit(_SEAL, "seal", "padded = pad(", "padded = bytes("),
                    Edit(_SEAL, "open_box", "decode_aside(unpad(padded))", "decode_aside(padded)"),
                ),
                ("peer/test_outbox.py::test_a_receipt_has_the_size_of_a_text",),
            ),
        ),
        (
            "peer/test_outbox.py::test_receipts_can_be_off",
            "protocol/test_content.py::test_chain_keys_and_receipts_are_all_of_the_smallest_size",
        ),
    ),
    Attack(
        21,
        "Messages that nobody sees are answered: whoever sends them learns who is there, and when.",
        "G. Gegenhuber et al., “Careless Whisper: Exploiting Silent Delivery Receipts”, 2024 (arXiv 2411.11194)",
        "A receipt answers a text or action that a member sent to oneself alone and that was not seen before; nothing"
        " else is answered, but a member's question for a chain that exists: once in 30 s, and 8 times a chain.",
        (
            cut(
                _INBOX,
                "Inbox._carry_out",
                "case Text() | Action() if new and opened.stream == ASIDES and self.receipts:",
                "case Text() | Action() if opened.stream == ASIDES and self.receipts:",
                "attacks/test_receipts.py::test_attack_21_what_was_seen_before_is_not_answered_again",
            ),
            cut(
                _INBOX,
                "Inbox._stands",
                "return self._roster.is_member(opened.sender)",
                "return True",
                "attacks/test_receipts.py::test_attack_21_who_is_no_member_is_not_answered_and_not_shown",
            ),
            cut(
                _INBOX,
                "Inbox._carry_out",
                "            case Receipt():\n",
                "            case Receipt() if not self.receipts:\n                pass\n"
                "            case Receipt():\n"
                "                self._outbox.receipt(MessageId(message.id), opened.sender, opened.sender_generation, "
                "now, 0)\n",
                "attacks/test_receipts.py::test_attack_21_what_is_not_shown_is_not_answered",
                "peer/test_outbox.py::test_only_what_was_opened_gets_a_receipt_and_no_receipt_gets_one",
            ),
            cut(
                _OUTBOX,
                "Outbox.asked",
                "if self._chain is None or chain != self._chain.id or not self._may_answer(by, now):",
                "if self._chain is None or chain != self._chain.id:",
                "attacks/test_receipts.py::test_attack_21_a_question_is_answered_now_and_then",
                "peer/test_outbox.py::test_a_chain_key_is_asked_for_again_and_answered_now_and_then",
            ),
            cut(
                _OUTBOX,
                "Outbox._may_answer",
                "return times < _ANSWERS and not (times and 0 <= now - last < _ANSWER_AFTER)",
                "return not (times and 0 <= now - last < _ANSWER_AFTER)",
                "attacks/test_receipts.py::test_attack_21_a_question_is_answered_now_and_then",
            ),
            cut(
                _OUTBOX,
                "Outbox.received",
                "if self._awaited.get(message) == by:",
                "if self._awaited.get(message):",
                "peer/test_outbox.py::test_a_receipt_counts_only_from_whom_the_aside_was_sealed_for",
            ),
        ),
        (_CLAIM_8 + "a_member_who_posts_garbage_ends_nobodys_program",),
    ),
    Attack(
        22,
        "A removed member goes on reading with the sender keys that it was given before.",
        "D. Balbás, D. Collins, P. Gajland, “WhatsUpp with Sender Keys?”, ASIACRYPT 2023 (ePrint 2023/1385)",
        "A sender makes a new chain after every departure, and receivers refuse a message that was made after a"
        " departure on a chain from before it.",
        (
            cut(
                _OUTBOX,
                "Outbox._current_chain",
                "chain is None or chain.spent(now) or chain.made_at < membership.last_departure",
                "chain is None or chain.spent(now)",
                _CLAIM_6 + "all_keys_of_a_removed_member_open_nothing_that_is_said_later",
                "peer/test_outbox.py::test_a_chain_ends_with_every_departure_and_only_when_there_is_something_to_say",
            ),
            cut(
                _INBOX,
                "Inbox._stands",
                "if opened.made_at < membership.departure_before(opened.anchor.index):",
                "if False:",
                _CLAIM_8 + "a_room_message_after_a_removal_on_a_chain_from_before_is_refused",
            ),
            cut(
                _CHAIN,
                "SendingChain.encrypt",
                "self._key = derive(self._key, Label.CHAIN_STEP)",
                "self._key = self._key",
                _CHAINED + "22_a_chain_shared_later_opens_nothing_from_before",
            ),
        ),
        (
            _CHAINED + "22_a_new_chain_has_nothing_in_common_with_the_one_before",
            "peer/test_room.py::test_a_removed_member_reads_nothing_that_is_said_afterwards",
            _REAL_ROUTER + "claim_6_a_removed_member_whom_the_relay_goes_on_serving_opens_nothing",
        ),
    ),
    Attack(
        23,
        "The server withholds every new key of a member, so that everybody goes on encrypting to an old one.",
        "RFC 9750 (the architecture of MLS), on a delivery service that withholds messages",
        "A card ends 24 hours after its generation; nothing is sealed to it then, and the sender is told so.",
        (
            cut(
                _OUTBOX,
                "Outbox._recipient",
                "if card is not None and card.expired(now):",
                "if False:",
                _CLAIM_3 + "a_sender_whose_relay_withholds_the_rotations_stops_at_not_after_and_says_so",
                "peer/test_outbox.py::test_whoever_has_no_valid_card_cannot_be_whispered_to_and_is_said_so",
            ),
        ),
    ),
    Attack(
        24,
        "Everything is recorded, and the keys are stolen later.",
        "C. Günther, “An Identity-Based Key-Exchange Protocol”, EUROCRYPT 1989, which named forward secrecy",
        "Sealing keys rotate every ten minutes and die when nothing sealed to them is retained; chains step by a"
        " one-way function and die too; dead keys are overwritten in the profile.",
        (
            cut(
                "peer/keys.py",
                "bury",
                '            store.write(f"DELETE FROM {table} WHERE {overdue}", now, horizon)',
                '            store.row(f"SELECT 1 FROM {table} WHERE {overdue}", now, horizon)',
                _CLAIM_5 + "yesterdays_keys_are_nowhere_and_what_is_there_opens_nothing_of_yesterday",
                "peer/test_keys.py::test_no_key_overstays_in_the_bytes_of_an_online_profile",
            ),
            cut(
                "peer/keys.py",
                "Keys._due",
                "return not 0 <= now - newest.made_at < limits.CARD_ROTATION",
                "return False",
                _CLAIM_5 + "yesterdays_keys_are_nowhere_and_what_is_there_opens_nothing_of_yesterday",
            ),
            Cut(
                (
                    Edit("peer/store.py", "Store.vacuum", 'self._connection.execute("VACUUM")', "pass"),
                    Edit("peer/store.py", "", '"secure_delete = ON"', '"secure_delete = OFF"'),
                ),
                ("peer/test_store.py::test_deleted_keys_are_gone_from_the_bytes_of_the_files",),
            ),
        ),
        (
            _CLAIM_5 + "a_step_of_a_chain_is_forgotten_at_once_by_its_sender",
            _CLAIM_5 + "who_wakes_from_sleep_buries_its_keys_with_the_first_tick",
        ),
    ),
    Attack(
        25,
        "One ciphertext opens under two keys to two different texts: two receivers are shown different messages.",
        "Y. Dodis, P. Grubbs, T. Ristenpart, J. Woodage, “Fast Message Franking: From Invisible Salamanders to"
        " Encryptment”, CRYPTO 2018 (ePrint 2019/016)",
        "A room message carries a commitment to its key beside the cipher's tag.",
        (
            cut(
                _CHAIN,
                "ReceivedChain.open",
                "if blake2b(Label.COMMITMENT, aad, key=message_key) != commitment:",
                "if False:",
                _CHAINED + "25_a_body_commits_to_one_key",
                "protocol/test_chain.py::test_a_commitment_is_to_its_place_too",
            ),
        ),
        (
            "protocol/test_primitives.py::test_the_cipher_alone_commits_to_no_key_and_that_is_why_chains_carry_a_commitment",
        ),
    ),
    Attack(
        26,
        "One crafted message, small on the wire and huge once unpacked, ends every client that receives it.",
        "M. Albrecht, J. Blasco, R. Jensen, L. Mareková, “Mesh Messaging in Large-scale Protests: Breaking Bridgefy”,"
        " CT-RSA 2021",
        "No compression; depth, lengths and counts are bounded before anything is built from them, at both ends.",
        (
            cut(
                "protocol/wire.py",
                "unpack",
                "if not _shallow(arrays[0], limits.DEPTH):",
                "if False:",
                "protocol/test_wire.py::test_what_is_not_exactly_one_array_is_malformed",
            ),
            cut(
                "protocol/wire.py",
                "",
                '"max_array_len": limits.FRAME_ENVELOPES,',
                '"max_array_len": 1 << 30,',
                "protocol/test_wire.py::test_what_is_not_exactly_one_array_is_malformed",
            ),
            cut(
                "protocol/envelope.py",
                "_decode",
                "if not left:",
                "if False:",
                "protocol/test_envelope.py::test_a_frame_holds_256_kib_and_4096_envelopes_and_no_more",
            ),
            cut(
                _ROSTER,
                "Roster.presence",
                "if len(self.online) > limits.MEMBERS:",
                "if False:",
                "peer/test_roster.py::test_a_relay_that_names_strangers_without_end_fills_no_memory",
            ),
            cut(
                "relay/router.py",
                "",
                "if frame.more:",
                "if False:",
                "relay/test_router.py::test_a_message_of_several_parts_is_an_attack",
            ),
        ),
        (
            "protocol/test_wire.py::test_attack_26_a_frame_that_is_a_bomb_is_refused_at_once",
            "protocol/test_envelope.py::test_attack_26_bombs_of_depth_length_and_count_are_refused_at_once",
            "peer/test_inbox.py::test_thousands_of_messages_on_chains_that_do_not_exist_cost_little",
            "relay/test_router.py::test_a_frame_over_256_kib_is_not_even_taken",
        ),
    ),
    Attack(
        27,
        "A text or a name moves the terminal that shows it: it clears the screen, forges lines, or types by itself.",
        "gurk-rs #384; magic-wormhole #476",
        "Strangers' text passes once through ``peer/text``: what a terminal obeys is shown as a sign. JSON is exact and"
        " escaped.",
        (
            cut(
                "peer/text.py",
                "safe_text",
                'return "".join(map(_visible, text))',
                "return text",
                "peer/test_text.py::test_attacks_are_inert_and_visible",
                "cli/test_terminal.py::test_strangers_texts_are_inert",
            ),
            cut(
                "peer/text.py",
                "_named",
                "return c if c.isprintable() else _FILL",
                "return c",
                "peer/test_text.py::test_nicks_are_held_to_more",
            ),
        ),
        (
            "peer/test_text.py::test_no_text_moves_a_terminal",
            "cli/test_output.py::test_json_is_exact_and_one_line_of_ascii",
        ),
    ),
)


def rows() -> list[str]:
    """Return the table as docs/threat-model.md has it, a line for each attack."""
    return [f"| {attack.number} | {attack.what} | {attack.answer.replace('``', '`')} |" for attack in ATTACKS]
