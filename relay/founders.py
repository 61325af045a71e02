"""Who may found rooms on this relay: a file of identities, one a line, with whatever comment after a ``#``.

An identity is written as the fingerprint or the id that `backchannel whoami` shows. Without such a file everybody may
found rooms. The file is read whole, and one with a line that makes no sense is refused whole, so that a slip never
shuts half of the people out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.errors import BadInput
from protocol.identity import fingerprint, id_text, looks_like_id
from protocol.ids import PeerId

MOST: Final = 16 * 1024 * 1024
"""Bytes of the file: room for a quarter of a million people."""


class BadAllowFile(BadInput):
    """The file that says who may found rooms can't be used."""

    code = "bad-allow-file"
    sentence = "The file that says who may found rooms can't be used."


@dataclass(frozen=True, slots=True)
class Founders:
    """Ids and fingerprints in lower case: ``peer in founders`` says whether one of them is the peer's."""

    words: frozenset[str]

    @classmethod
    def load(cls, path: Path) -> Founders:
        """Read the file; raise ``BadAllowFile``."""
        try:
            with path.open("rb") as file:
                raw = file.read(MOST + 1)
        except OSError as error:
            raise BadAllowFile(f"{path}: {(error.strerror or 'not readable').lower()}") from None
        if len(raw) > MOST:
            raise BadAllowFile(f"{path} is longer than {MOST >> 20} MiB")
        words = set()
        for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
            word = line.partition("#")[0].strip().lower()
            if word and not looks_like_id(word):
                raise BadAllowFile(f"line {number} of {path} is not one id or fingerprint")
            words.add(word)
        return cls(frozenset(words - {""}))

    def __contains__(self, peer: object) -> bool:
        return isinstance(peer, bytes) and not self.words.isdisjoint((id_text(PeerId(peer)), fingerprint(PeerId(peer))))

    def __len__(self) -> int:
        return len(self.words)
