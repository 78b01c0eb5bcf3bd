"""The key: where it goes, and where it does not show."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import socket
from pathlib import Path

import msgspec
import pytest

from klaviyo_jobs.errors import KeyRefusedError, StatusError, UnavailableError
from klaviyo_jobs.keys import ApiKey
from klaviyo_sandbox import Fault, Sandbox
from support.clients import PATH, client_at, client_of, fetch, whole_text
from support.hostile import Server, answer

# Where the key goes.


def test_the_key_is_sent_to_the_configured_origin(sandbox: Sandbox) -> None:
    """In the one header that the API reads."""
    fetch(client_of(sandbox))

    assert [request.authorization for request in sandbox.requests] == ["right"]


def test_the_key_is_not_sent_to_another_origin(sandbox: Sandbox, other: Sandbox) -> None:
    """Even when asked for a link of another origin, the key stays."""
    with pytest.raises(KeyRefusedError):
        fetch(client_of(sandbox), f"{other.base_url}{PATH}")

    assert [request.authorization for request in other.requests] == ["missing"]


def set_netrc(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine's netrc file be one of *text*."""
    netrc = folder / "netrc"
    netrc.write_text(text)
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))


def test_a_netrc_file_is_not_asked(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's netrc entry neither takes the key's place nor is sent anywhere."""
    text = "machine 127.0.0.1 login somebody password secret\ndefault login anybody password secret\n"
    set_netrc(text, tmp_path, monkeypatch)

    fetch(client_of(sandbox))

    assert [request.authorization for request in sandbox.requests] == ["right"]


def test_a_netrc_entry_is_not_sent_to_another_origin(
    sandbox: Sandbox, other: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our key does not go, no other password goes."""
    set_netrc("default login anybody password secret\n", tmp_path, monkeypatch)

    with pytest.raises(KeyRefusedError):
        fetch(client_of(sandbox), f"{other.base_url}{PATH}")

    assert [request.authorization for request in other.requests] == ["missing"]


def test_a_proxy_is_not_asked_for_a_server_on_this_machine(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would see the key in plain text."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert fetch(client_of(sandbox, max_attempts=1)).body["data"] == []


# Where the key does not show.


def test_the_key_is_in_no_text_of_what_holds_it(sandbox: Sandbox) -> None:
    """Neither the key object nor the client gives the key away in any of their texts."""
    key = ApiKey("pk_secret_4711")
    client = client_of(sandbox, key="pk_secret_4711")

    for holder in (key, client, [key], {"key": key}):
        for text in (repr(holder), str(holder), f"{holder}", f"{holder!r:>20}", f"{getattr(holder, '__dict__', '')}"):
            assert "4711" not in text


def test_the_key_cannot_be_pickled_or_copied() -> None:
    """What cannot be written cannot be left behind."""
    key = ApiKey("pk_secret_4711")

    for write in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match="an API key is never written anywhere"):
            write(key)


@pytest.mark.parametrize(
    ("fault", "argument"), [("status", "503"), ("status", "400"), ("reset", ""), ("cut", ""), ("429", "huge")]
)
def test_the_key_is_in_no_log_line_and_no_error(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, fault: str, argument: str
) -> None:
    """At the most talkative level, of every library, and in the whole traceback."""
    sandbox.faults.append(Fault(fault, argument))
    with caplog.at_level(logging.DEBUG), pytest.raises((UnavailableError, StatusError)) as caught:
        fetch(client_of(sandbox))

    assert sandbox.key not in caplog.text
    assert sandbox.key not in whole_text(caught.value)


def test_a_key_that_a_server_echoes_is_not_shown() -> None:
    """An error body that repeats the request's header, as a careless proxy's does, does not bring the key into our message."""
    server = Server()

    def echo(connection: socket.socket) -> None:
        [header] = re.findall(rb"Authorization: ([^\r]*)", server.received[-1])
        body = msgspec.json.encode({"errors": [{"detail": f"bad request: {header.decode()}"}]})
        connection.sendall(answer(body, status="400 Bad Request"))

    server.deeds[PATH] = echo
    with pytest.raises(StatusError, match="bad request: ") as caught:
        fetch(client_at(server.base_url, "pk_secret_4711"))
    server.stop()

    assert "4711" not in str(caught.value)
