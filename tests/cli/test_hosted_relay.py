"""What ``host`` makes of a relay that does not do its part: shell scripts stand for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from peer.host import HostedRelay, RelayEnded, RelayFailed
from protocol.address import HostPort, RelayAddress
from protocol.errors import BackchannelError, TimedOut

ADDRESS = "127.0.0.1:7667/" + "a" * 52


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], HostedRelay]:
    """Makes a relay of a few lines of shell; ``said`` is what it said to the user."""

    def make(script: str) -> HostedRelay:
        program = tmp_path / "relay.sh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr("peer.host.sys.executable", str(program))
        said: list[str] = []
        hosted = HostedRelay(tmp_path, HostPort("127.0.0.1", 7667), said.append)
        hosted.said = said
        return hosted

    return make


async def entered(hosted: HostedRelay) -> None:
    async with hosted:
        pass


def test_it_is_entered_when_it_has_said_its_addresses(relay):
    other = ADDRESS.replace("127.0.0.1", "10.0.0.1")
    hosted = relay(f"printf '{ADDRESS}\\n{other[:20]}'; printf '{other[20:]}\\n'; exec cat")

    asyncio.run(entered(hosted))

    assert hosted.addresses == [RelayAddress.parse(ADDRESS), RelayAddress.parse(other)]


def test_its_own_sentence_says_why_it_did_not_start(relay):
    hosted = relay("echo 'backchannel-relay: the moon\033[2J is full' >&2; exit 8")

    with pytest.raises(RelayFailed, match="the moon␛\\[2J is full") as failed:
        asyncio.run(entered(hosted))
    assert "backchannel-relay" not in str(failed.value)
    assert failed.value.exit_code == 8


def test_one_that_ends_without_a_word(relay):
    with pytest.raises(RelayFailed, match="exit code was 7"):
        asyncio.run(entered(relay("exit 7")))


def test_one_that_says_no_address(relay):
    with pytest.raises(BackchannelError, match="said no address"):
        asyncio.run(entered(relay("echo hello; exec cat")))


def test_one_that_says_nothing(relay, monkeypatch):
    monkeypatch.setattr("peer.host._START_S", 0.1)
    with pytest.raises(TimedOut, match="did not say its address"):
        asyncio.run(entered(relay("exec cat")))


def test_one_that_does_not_end_is_killed(relay, monkeypatch):
    monkeypatch.setattr("peer.host._STOP_S", 0.1)
    hosted = relay(f"trap '' TERM; echo {ADDRESS}; exec sleep 1000")

    asyncio.run(entered(hosted))

    assert hosted._child.returncode == -9


def test_one_that_ends_again_and_again_is_given_up(relay):
    async def kept(hosted: HostedRelay) -> None:
        async with hosted:
            await hosted.keep_running()

    hosted = relay(f"echo {ADDRESS}; echo 'the moon is full' >&2")
    with pytest.raises(RelayEnded, match="the moon is full") as ended:
        asyncio.run(kept(hosted))
    assert ended.value.exit_code == 3
    assert [line for line in hosted.said if "started again" in line] == [
        "The relay ended with code 0 and is started again."
    ] * 3
