"""What a fuzzer is given: a function that takes any bytes, and where to begin."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from protocol.errors import BackchannelError

fine = functools.partial(contextlib.suppress, BackchannelError)
"""What may leave."""


@dataclass(frozen=True)
class Target:
    """Something that parses; inputs longer than ``longest`` only make the fuzzer slow."""

    feed: Callable[[bytes], None]
    seeds: Iterable[bytes] = ()
    longest: int = 2_048
