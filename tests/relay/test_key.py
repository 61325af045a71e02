"""The relay's key file: made once, whole, for its owner's eyes alone, and never replaced."""

from __future__ import annotations

import threading

import pytest
import zmq
from zmq.utils import z85

from protocol.base32 import base32
from relay import key
from relay.key import BadKeyFile, load_or_create, public_key


def test_a_key_is_made_once(tmp_path):
    home = tmp_path / "not" / "there"
    secret = load_or_create(home)
    assert load_or_create(home) == secret
    assert [path.name for path in home.iterdir()] == [key.NAME]
    assert (home / key.NAME).stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


def test_the_public_half_is_the_one_that_curve_means(tmp_path):
    secret = load_or_create(tmp_path)
    assert z85.decode(zmq.curve_public(z85.encode(secret))) == public_key(secret)


def test_of_several_that_make_it_at_once_all_use_the_same(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_or_create(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [key.NAME]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606, 0o660])
def test_a_key_that_others_can_reach_is_refused_and_left_alone(tmp_path, mode):
    load_or_create(tmp_path)
    path = tmp_path / key.NAME
    before = path.read_bytes()
    path.chmod(mode)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        load_or_create(tmp_path)
    assert path.read_bytes() == before


def test_a_key_that_is_only_readable_is_fine(tmp_path):
    secret = load_or_create(tmp_path)
    (tmp_path / key.NAME).chmod(0o400)
    assert load_or_create(tmp_path) == secret


@pytest.mark.parametrize("text", [b"", b"\n", b"\xff\xfe", b"a" * 51, b"a" * 53, b"1" * 52, base32(bytes(31)).encode()])
def test_a_damaged_key_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / key.NAME
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(BadKeyFile, match="damaged"):
        load_or_create(tmp_path)
    assert path.read_bytes() == text


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / key.NAME).mkdir()
    with pytest.raises(BadKeyFile):
        load_or_create(tmp_path)
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(BadKeyFile):
        load_or_create(tmp_path / "home")
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / key.NAME).symlink_to("/dev/null")
    with pytest.raises(BadKeyFile, match="no file"):
        load_or_create(odd)


def test_a_key_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadKeyFile, match="no space left"):
        load_or_create(tmp_path)
    assert list(tmp_path.iterdir()) == []
