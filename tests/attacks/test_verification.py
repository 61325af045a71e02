"""Attack 17: a name is another's by the time that the user says that the numbers agree."""

from __future__ import annotations

from tests.e2e.conftest import scene
from tests.e2e.scene import Scene

__all__ = ["scene"]


def test_attack_17_a_name_that_changed_hands_is_not_verified_by_the_old_number(scene: Scene):
    """Alice compares Bob's number; Bob leaves, another identity takes the nick; she accepts the number that she saw.

    Stands on the comparison in ``Moderated.verify`` (moderation.py): without it the other identity is marked as
    verified, and this test fails.
    """
    alice, bob = scene.company(scene.relay(), "alice", "bob")
    number = alice.runs("verify", "team", "bob").strip()
    bob.runs("leave", "team")
    other = scene.person("other")
    other.runs("join", scene.invite, "--nick", "bob")
    result = alice.tries("verify", "team", "bob", "--accept", number)
    assert (result.code, result.out) == (7, "")
    assert [member["verified"] for member in alice.members().values()] == [False, False]
    assert alice.runs("verify", "team", "bob").strip() != number
