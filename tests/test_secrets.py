"""The key: in the environment or the secrets file, in one header of requests to one origin, and nowhere else."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import dlt
import pytest

from klaviyo_jobs import klaviyo_jobs
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_sandbox import Fault, Sandbox
from support.builders import job_object
from support.loads import NOW
from support.processes import ENVIRONMENT, started

# Characters that JSON, addresses and base64 each write in their own way.
KEY: Final = "pk_4711+geheim/Schluessel=="
ITEMS: Final = KINDS["item-create"].list_path


def forms_of(key: str) -> dict[str, bytes]:
    """Return what *key* looks like in the forms that programs write texts in, by name."""
    plain = key.encode()
    escaped = "".join(f"%{byte:02X}" for byte in plain)
    forms = {
        "plain": plain,
        "without its prefix": key[3:14].encode(),
        "reversed": plain[::-1],
        "percent-encoded": quote(key, safe="").encode(),
        "percent-encoded as a path": quote(key).encode(),
        "percent-encoded throughout": escaped.encode(),
        "percent-encoded, reversed": quote(key, safe="").encode()[::-1],
        "hexadecimal": plain.hex().encode(),
        "JSON": json.dumps(key)[1:-1].replace("/", "\\/").encode(),
        "JSON escapes": "".join(f"\\u{byte:04x}" for byte in plain).encode(),
        "UTF-16": key.encode("utf-16-le"),
    }
    for shift in range(3):
        # The middle of what base64 makes of the key, wherever it begins in what is encoded.
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            forms[f"{name} {shift}"] = encode(b"x" * shift + plain).rstrip(b"=")[4:-4]
    return forms


FORMS: Final = forms_of(KEY)


def assert_no_key(content: bytes, place: str, forms: Mapping[str, bytes] = FORMS) -> None:
    """*content* holds the key in none of its *forms*."""
    found = [name for name, form in forms.items() if form in content]
    assert not found, f"{place} holds the key: {', '.join(found)}"


def test_the_search_finds_the_key_in_all_its_forms() -> None:
    """A search that finds nothing proves something only if it would find what is there."""
    pair = f"Klaviyo-API-Key {KEY}"
    for content in (
        pair.encode(),
        quote(pair).encode(),
        base64.b64encode(pair.encode()),
        base64.urlsafe_b64encode(f"x{pair}y".encode()),
        json.dumps({"a": pair}).encode(),
        pair[::-1].encode(),
        pickle.dumps(pair),
    ):
        with pytest.raises(AssertionError, match="holds the key"):
            assert_no_key(content, "content")


# A run in folders of its own, watched.


class Watch:
    """
    Reads, as long as it runs, every file that appears below a folder, and the arguments of a process and its children.

    What is found in a file stands in `found`; `names` and `arguments` tell that there was something to look at.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._process = process
        self._is_stopped = threading.Event()
        self.found: set[str] = set()
        self._looked_at: dict[Path, tuple[int, int]] = {}
        self.arguments: set[bytes] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped.set()
        self._thread.join()

    def names(self) -> set[str]:
        """Return the path of every file that was looked at, below the folder."""
        return {str(path.relative_to(self._folder)) for path in self._looked_at}

    def _run(self) -> None:
        while not self._is_stopped.wait(0.02):
            self._look_at_arguments(self._process.pid)
            self._look_at_files()

    def _look_at_arguments(self, pid: int) -> None:
        try:
            self.arguments.add(Path(f"/proc/{pid}/cmdline").read_bytes())
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                for child in children.read_text().split():
                    self._look_at_arguments(int(child))
        except OSError:
            pass  # it has ended

    def _look_at_files(self) -> None:
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.stat()
                    if self._looked_at.get(path) == (status.st_size, status.st_mtime_ns):
                        continue
                    content = path.read_bytes()
                except OSError:
                    continue  # it is gone again
                self._looked_at[path] = status.st_size, status.st_mtime_ns
                self.found |= {f"{path}: {form_name}" for form_name, form in FORMS.items() if form in content}


class Ended:
    """How a watched process ended, and all it left."""

    def __init__(self, folder: Path, exit_code: int, watch: Watch) -> None:
        self.exit_code = exit_code
        self.stdout = (folder / "stdout").read_bytes()
        self.stderr = (folder / "stderr").read_bytes()
        self._folder = folder
        self.watch = watch

    def assert_no_key(self) -> None:
        """The key is in no output, no file there is or was, and no argument of a process."""
        assert_no_key(self.stdout, "stdout")
        assert_no_key(self.stderr, "stderr")
        assert self.watch.found == set()
        for arguments in self.watch.arguments:
            assert_no_key(arguments, "the arguments of a process")
        for path in self._folder.rglob("*"):
            assert_no_key(os.fsencode(path), "the name of a file")
            if path.is_file():
                assert_no_key(path.read_bytes(), str(path))
        assert self.watch.arguments
        assert self.watch.names()


@contextmanager
def running(
    folder: Path, base_url: str, *arguments: str, key: str | None = KEY, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Watch]]:
    """Run `klaviyo-jobs` in *folder*, everything it writes below it, the key in its environment, and watch it."""
    for name in ("work", "tmp", "home", "dlt"):
        (folder / name).mkdir(exist_ok=True)
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("SOURCES__", "XDG_"))}
    settings |= {
        "SOURCES__KLAVIYO_JOBS__BASE_URL": base_url,
        **({} if key is None else {"SOURCES__KLAVIYO_JOBS__API_KEY": key}),
        "SOURCES__KLAVIYO_JOBS__MAX_ATTEMPTS": "2",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
        "DLT_DATA_DIR": str(folder / "dlt"),
        **environment,
    }
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "klaviyo_jobs", *arguments],
            cwd=folder / "work",
            env=settings,
            stdout=out,
            stderr=err,
        )
        watch = Watch(folder, process)
        try:
            yield process, watch
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
            watch.stop()


def command(folder: Path, base_url: str, *arguments: str, key: str = KEY, **environment: str) -> Ended:
    """Run `klaviyo-jobs` to its end and return what it left."""
    with running(folder, base_url, *arguments, key=key, **environment) as (process, watch):
        pass
    return Ended(folder, process.returncode, watch)


TALKATIVE: Final = {"RUNTIME__LOG_LEVEL": "DEBUG", "KLAVIYO_JOBS_DEBUG": "1", "PYTHONFAULTHANDLER": "1"}


@pytest.fixture
def demo() -> Iterator[Sandbox]:
    """An API that holds the jobs of the demo and knows the key."""
    with Sandbox("demo", clock=NOW) as sandbox:
        sandbox.accounts["default"].key = KEY
        yield sandbox


# Success.


def test_a_talkative_run_leaves_no_key(demo: Sandbox, tmp_path: Path) -> None:
    """Not in a file, an output, an argument or an address, during and after; GET only, the key in one header."""
    ended = command(tmp_path, demo.base_url, "run", "--json", **TALKATIVE)

    assert ended.exit_code == 0, ended.stderr.decode()
    assert {(request.method, request.authorization) for request in demo.requests} == {("GET", "right")}
    for request in demo.requests:
        assert_no_key(f"{request.path}?{request.raw_query} {request.headers}".encode(), "a request")
    assert any("normalize" in name for name in ended.watch.names())  # dlt's working directory was looked into
    ended.assert_no_key()


def test_a_key_in_the_secrets_file_is_in_no_other_file(demo: Sandbox, tmp_path: Path) -> None:
    """`.dlt/secrets.toml` is read where it is, and copied nowhere."""
    secrets = tmp_path / "work" / ".dlt" / "secrets.toml"
    secrets.parent.mkdir(parents=True)
    secrets.write_text(f'[sources.klaviyo_jobs]\napi_key = "{KEY}"\n')

    with running(tmp_path, demo.base_url, "run", "--kind", "category-create", key=None, **TALKATIVE) as (
        process,
        watch,
    ):
        pass
    secrets.unlink()
    watch.found = {found for found in watch.found if not found.startswith(str(secrets))}

    ended = Ended(tmp_path, process.returncode, watch)
    assert ended.exit_code == 0, ended.stderr.decode()
    ended.assert_no_key()


def test_the_pipeline_of_a_dlt_user_leaves_no_key(
    demo: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt's own working directory, with its state, schema, load packages and trace, has no key in it."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__API_KEY", KEY)
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BASE_URL", demo.base_url)
    pipeline = dlt.pipeline(
        "mine",
        pipelines_dir=str(tmp_path / "pipelines"),
        destination=dlt.destinations.duckdb(str(tmp_path / "a.duckdb")),
    )

    pipeline.run(klaviyo_jobs(kinds=["category-create"]))

    assert pipeline.last_trace is not None
    assert_no_key(pipeline.last_trace.asstr(verbosity=2).encode(), "the trace")
    assert_no_key(json.dumps(pipeline.last_trace.asdict(), default=str).encode(), "the trace")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "trace.pickle" in {path.name for path in written}
    for path in written:
        assert_no_key(path.read_bytes(), str(path))


# Failure.


def test_a_refused_key_is_not_shown(sandbox: Sandbox, tmp_path: Path) -> None:
    """Exit 3 names the account, and nothing holds the key that was refused."""
    ended = command(tmp_path, sandbox.base_url, "run", "--json", **TALKATIVE)

    assert ended.exit_code == 3
    assert {request.authorization for request in sandbox.requests} == {"wrong"}
    ended.assert_no_key()


def test_a_key_that_cannot_be_sent_is_not_shown(sandbox: Sandbox, tmp_path: Path) -> None:
    """A key with a line break in it is refused in words of our own."""
    ended = command(tmp_path, sandbox.base_url, "run", key=f"{KEY}\r\nX: y")

    assert ended.exit_code == 2
    assert sandbox.requests == []
    ended.assert_no_key()


def test_a_run_killed_in_the_middle_leaves_no_key(demo: Sandbox, tmp_path: Path) -> None:
    """What a killed process leaves behind, its working directory and an open database, has no key in it."""
    demo.latency_seconds = 0.1
    with running(tmp_path, demo.base_url, "run", **TALKATIVE) as (process, watch):
        until = time.monotonic() + 30
        while len(demo.requests) < 20 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)

    assert process.returncode == -signal.SIGKILL
    assert list((tmp_path / "tmp").iterdir())  # nobody tidied up
    Ended(tmp_path, process.returncode, watch).assert_no_key()


def test_an_unexpected_error_shows_no_key(demo: Sandbox, tmp_path: Path) -> None:
    """A traceback of something nobody thought of, here deep in a request, shows no key."""
    (tmp_path / "home").mkdir()
    # Python imports this module at its start.
    (tmp_path / "home" / "sitecustomize.py").write_text(
        "import msgspec\n"
        "import klaviyo_jobs.api.client as client\n"
        "def fail(body, decode):\n"
        "    raise LookupError('nobody thought of this')\n"
        "client.decode_leniently = fail\n"
    )

    ended = command(
        tmp_path, demo.base_url, "run", "--kind", "item-create", PYTHONPATH=_python_path(tmp_path / "home"), **TALKATIVE
    )

    assert ended.exit_code == 1
    assert b"nobody thought of this" in ended.stderr
    assert b"Traceback" in ended.stderr
    ended.assert_no_key()


def _python_path(first: Path) -> str:
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


# A server that gives the key back.


class Echo:
    """Answers every request with what a test makes of the key that came with it."""

    def __init__(self, make: Callable[[str], bytes]) -> None:
        self._make = make
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.given_keys: set[str] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(65536)
                found = re.search(rb"Klaviyo-API-Key (.*?)\r\n", request)
                key = found[1].decode() if found else "no key"
                self.given_keys.add(key)
                connection.sendall(self._make(key))
                connection.shutdown(socket.SHUT_WR)


def http(status: str, body: str = "", *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", "Connection: close", *headers])
    return f"{head}\r\n\r\n{body}".encode()


def listing(record: Any, link: str | None = None) -> str:
    return json.dumps({"data": [record], "links": {"next": link}})


def error_body(detail: str) -> str:
    return json.dumps({"errors": [{"code": "invalid", "title": "Oh", "detail": detail}]})


def escaped(text: str) -> str:
    """Return *text* as it may stand in JSON: every character as an escape."""
    return "".join(f"\\u{ord(character):04x}" for character in text)


ECHOES: Final[dict[str, Callable[[str], bytes]]] = {
    "in an error body": lambda key: http("400 Bad Request", error_body(f"what is {key}?")),
    "in the body of a 500": lambda key: http("500 Oh", error_body(f"Klaviyo-API-Key {key}")),
    "in a refusal": lambda key: http("401 Unauthorized", error_body(f"{key} is no key")),
    # Once a bug: only the key byte for byte is blanked out, before JSON's escapes are read.
    "in an error body, escaped": lambda key: http("400 Bad Request", error_body("@").replace("@", escaped(key))),
    "in an error body, slashes escaped": lambda key: http("400 Bad Request", error_body(key).replace("/", "\\/")),
    "in a record": lambda key: http(
        "200 OK",
        listing(job_object(key, attributes={"status": key, "odd": [key], key: 1, "errors": [{"meta": {key: key}}]})),
    ),
    "in a record, escaped": lambda key: http(
        "200 OK", listing(job_object("J1", attributes={"odd": "@", "status": "@"})).replace("@", escaped(key))
    ),
    "in a record, slashes escaped": lambda key: http(
        "200 OK", listing(job_object("J1", attributes={"status": key})).replace("/", "\\/")
    ),
    "in a bad record": lambda key: http("200 OK", listing({"type": key, "id": key, "attributes": {"status": key}})),
    "in a bad record, escaped": lambda key: http("200 OK", listing({"type": "@"}).replace("@", escaped(key))),
    "in a next link": lambda key: http("200 OK", listing(job_object(), f"http://127.0.0.1:1/?{key}")),
    "in a redirect": lambda key: http("302 Found", "", f"Location: http://127.0.0.1:1/{quote(key)}"),
    "in headers": lambda key: http(
        "503 Oh", "", f"Retry-After: {key}", f"Set-Cookie: a={key}", f"RateLimit-Limit: {key}"
    ),
    # Once a bug: the library quotes what it cannot read, and its words go into error, ledger and log: here, and for the size
    # of a chunk and a header line that is none (which urllib3 logs itself).
    "in place of a status line": lambda key: f"{key} {key}\r\n\r\n".encode(),
    "in the length": lambda key: http("200 OK", "").replace(b"Content-Length: 0", f"Content-Length: 0, {key}".encode()),
    "in the size of a chunk": lambda key: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{key}\r\n".encode(),
    "in an encoding": lambda key: http("200 OK", "no gzip", f"Content-Encoding: gzip, {key}"),
    "in a header line that is none": lambda key: http("200 OK", "{}", f"{key}", "X: y"),
    "in a name of the rate limits": lambda key: http("429 Slow", error_body(key), "Retry-After: 0"),
    "in a body that is no JSON": lambda key: http("200 OK", f"{key} {key}"),
}


@dataclass(frozen=True)
class Echoed:
    """What a run has left, and whose keys it gave away, that read an account for each of `ECHOES`."""

    contents: dict[str, bytes]
    given_keys: set[str]


def key_of(name: str) -> str:
    """Return the key of the account for which the server does as *name* of `ECHOES` says."""
    return KEY.replace("47", f"{list(ECHOES).index(name):02}")


# Reads every account once; its log goes to stderr, and what its caller is told to stdout.
TALKATIVE_RUN: Final = """
import json, logging, os
from pathlib import Path

logging.basicConfig(level=logging.DEBUG)
from klaviyo_jobs.errors import KlaviyoJobsError
from klaviyo_jobs.runs.run import run
from klaviyo_jobs.settings import Settings

logging.getLogger("klaviyo_jobs").setLevel(logging.DEBUG)
accounts = json.loads(os.environ["ACCOUNTS"])
try:
    summary = run(Settings(base_url=os.environ["BASE_URL"], accounts=accounts, kinds=["item-create"]), Path("warehouse.duckdb"))
    print(summary.error.render() if summary.error else "", summary.unmodelled, summary.outcomes)
    print(*(outcome.error.render() for outcome in summary.outcomes if outcome.error))
except KlaviyoJobsError as error:
    print(error.render())
"""


@pytest.fixture(scope="module")
def echoed(tmp_path_factory: pytest.TempPathFactory) -> Echoed:
    """Run once against a server that gives each account's key back in another place."""
    folder = tmp_path_factory.mktemp("echoed")
    names = {key_of(name): name for name in ECHOES}
    echo = Echo(lambda key: ECHOES[names[key]](key))
    environment = {
        **ENVIRONMENT,
        "DLT_DATA_DIR": str(folder / "dlt"),
        "SOURCES__KLAVIYO_JOBS__BACKOFF_SECONDS": "0.001",
        "SOURCES__KLAVIYO_JOBS__MAX_ATTEMPTS": "2",
        "ACCOUNTS": json.dumps({f"case{number}": key for number, key in enumerate(names)}),
        "BASE_URL": echo.base_url,
    }
    with started(folder, program=TALKATIVE_RUN, environment=environment) as process:
        process.wait()
        contents = {"stdout": process.stdout.encode(), "stderr": process.stderr.encode()}
    echo.stop()
    contents |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return Echoed(contents, echo.given_keys)


@pytest.mark.parametrize("name", ECHOES)
def test_a_key_that_a_server_gives_back_goes_nowhere(echoed: Echoed, name: str) -> None:
    """Wherever in its answer: neither the warehouse nor a log line nor an error has the key in it."""
    key = key_of(name)

    assert key in echoed.given_keys
    for place, content in echoed.contents.items():
        assert_no_key(content, place, forms_of(key))


def test_a_run_that_is_given_keys_back_logs_and_stores(echoed: Echoed) -> None:
    """There is something that a key could have been found in."""
    assert b"case0/item-create" in echoed.contents["stderr"]
    assert b"case0: all" in echoed.contents["stdout"]
    assert any(place.endswith("warehouse.duckdb") for place in echoed.contents)


@pytest.mark.parametrize("name", ["in the body of a 500", "in a record"])
def test_the_command_shows_no_key_that_a_server_gives_back(name: str, tmp_path: Path) -> None:
    """The whole command, at its most talkative, against a server that repeats the key."""
    echo = Echo(ECHOES[name])

    ended = command(tmp_path, echo.base_url, "run", "--json", "--kind", "item-create", **TALKATIVE)
    echo.stop()

    assert echo.given_keys == {KEY}
    ended.assert_no_key()


# Where the key may go.


def test_the_command_sends_no_key_without_encryption_to_another_machine(tmp_path: Path) -> None:
    """Plain http is for loopback; anything else is refused before anything is sent or written."""
    ended = command(tmp_path, "http://127.0.0.1.example.com", "run")

    assert ended.exit_code == 2
    assert b"unencrypted" in ended.stderr
    assert not (tmp_path / "work" / "warehouse.duckdb").exists()
    ended.assert_no_key()


def test_the_command_gives_the_key_to_no_other_origin(demo: Sandbox, tmp_path: Path) -> None:
    """Neither a next link nor a redirect nor a proxy of the machine brings a request to another server."""
    asked: list[str] = []
    with Sandbox(clock=NOW) as foreign:
        demo.faults.append(Fault("foreign-link", foreign.base_url, kind="item-create"))
        demo.faults.append(Fault("redirect", f"{foreign.base_url}{ITEMS}", kind="item-update"))

        ended = command(tmp_path, demo.base_url, "run")
        asked = [request.path for request in foreign.requests]

    assert ended.exit_code == 5
    assert asked == []
    ended.assert_no_key()
