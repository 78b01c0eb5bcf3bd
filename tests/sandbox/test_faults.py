"""Faults: each does what its name says, on the wire; rules choose the requests."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest
import requests

from klaviyo_sandbox import Fault, Sandbox
from klaviyo_sandbox.faults import FAULTS, parse_fault
from support.jobs import add_jobs, job
from support.loads import NOW
from support.sandbox_client import CATEGORIES, ITEMS, Client, error_of


@pytest.fixture
def paged(sandbox: Sandbox, client: Client) -> Client:
    """A client of a sandbox with 250 item-create jobs: three pages."""
    add_jobs(sandbox, 250)
    return client


def test_a_status_comes_with_the_recorded_body(sandbox: Sandbox, client: Client) -> None:
    """`status:503` is a JSON:API error with rate-limit headers."""
    sandbox.faults.append(Fault("status", "503"))

    response = client.get(ITEMS)

    assert (response.status_code, error_of(response)["status"]) == (503, 503)
    assert response.headers["RateLimit-Limit"]


@pytest.mark.parametrize(("argument", "status"), [("", 502), ("200", 200)])
def test_html_is_not_json(sandbox: Sandbox, client: Client, argument: str, status: int) -> None:
    """`html` is a proxy's page, with any status."""
    sandbox.faults.append(Fault("html", argument))

    response = client.get(ITEMS)

    assert (response.status_code, response.headers["Content-Type"]) == (status, "text/html")
    assert response.text.startswith("<html>")


@pytest.mark.parametrize(
    ("argument", "header"), [("", "1"), ("7", "7"), ("1.5", "1.5"), ("huge", "86400"), ("none", None)]
)
def test_a_429_carries_the_retry_after_asked_for(
    sandbox: Sandbox, client: Client, argument: str, header: str | None
) -> None:
    """`429:...` sends that Retry-After; it does not count as a real throttling."""
    sandbox.faults.append(Fault("429", argument))

    response = client.get(ITEMS)

    assert (response.status_code, response.headers.get("Retry-After")) == (429, header)
    assert "RateLimit-Limit" not in response.headers
    assert sandbox.throttled_count == 0


def test_retry_after_can_be_a_date(sandbox: Sandbox, client: Client) -> None:
    """`429:date` names a moment one second ahead."""
    sandbox.faults.append(Fault("429", "date"))

    at = parsedate_to_datetime(client.get(ITEMS).headers["Retry-After"])

    assert abs(at.timestamp() - time.time() - 1) <= 1.1


def test_a_reset_is_a_reset(sandbox: Sandbox) -> None:
    """`reset` answers with RST, not with an orderly end."""
    sandbox.faults.append(Fault("reset"))
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc)
    connection.request("GET", ITEMS, headers=sandbox.headers())

    with pytest.raises(ConnectionResetError):
        connection.getresponse()
    connection.close()
    assert sandbox.requests[0].status == 0


def test_a_cut_promises_more_than_it_sends(sandbox: Sandbox) -> None:
    """`cut` ends the connection after half of the announced length."""
    sandbox.faults.append(Fault("cut"))
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc)
    connection.request("GET", ITEMS, headers=sandbox.headers())
    response = connection.getresponse()

    with pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    connection.close()
    assert len(caught.value.partial) == int(response.headers["Content-Length"]) // 2


def test_an_empty_body_is_a_success_without_content(sandbox: Sandbox, client: Client) -> None:
    """`empty-body` is a 200 of length 0."""
    sandbox.faults.append(Fault("empty-body"))

    response = client.get(ITEMS)

    assert (response.status_code, response.content) == (200, b"")


def test_slow_waits_before_it_answers(sandbox: Sandbox, client: Client) -> None:
    """`slow:0.2` takes that long, then answers as ever."""
    sandbox.faults.append(Fault("slow", "0.2"))
    started = time.monotonic()

    assert client.get(ITEMS).status_code == 200
    assert 0.2 <= time.monotonic() - started < 2


def test_drip_spreads_the_body(sandbox: Sandbox, paged: Client) -> None:
    """`drip:0.8` sends headers at once and the last byte after about that time."""
    sandbox.faults.append(Fault("drip", "0.8"))
    started = time.monotonic()

    with paged.session.get(sandbox.base_url + ITEMS, headers=sandbox.headers(), stream=True, timeout=10) as response:
        headers_after = time.monotonic() - started
        body = response.content

    assert headers_after < 0.6 < time.monotonic() - started
    assert len(json.loads(body)["data"]) == 100


def test_a_redirect_names_its_target(sandbox: Sandbox, client: Client) -> None:
    """`redirect:URL` is a 302 to it."""
    sandbox.faults.append(Fault("redirect", "http://127.0.0.1:9/elsewhere"))

    response = client.get(ITEMS)

    assert (response.status_code, response.headers["Location"]) == (302, "http://127.0.0.1:9/elsewhere")


def test_an_expired_job_is_listed_and_gone(sandbox: Sandbox, client: Client) -> None:
    """`expired-job` turns details into 404 and leaves lists alone."""
    sandbox.world.add(job("J1"))
    sandbox.faults.append(Fault("expired-job"))

    assert client.ids(ITEMS) == ["J1"]
    assert error_of(client.get(f"{ITEMS}/J1"))["detail"].endswith("with id J1 does not exist.")


def test_invalid_json_is_framed_well(sandbox: Sandbox, client: Client) -> None:
    """`invalid-json` sends a body that ends too early, and says so in Content-Length."""
    sandbox.faults.append(Fault("invalid-json"))

    response = client.get(ITEMS)

    assert int(response.headers["Content-Length"]) == len(response.content)
    with pytest.raises(requests.JSONDecodeError):
        response.json()


def test_nan_is_written_literally(sandbox: Sandbox, client: Client) -> None:
    """`nan` puts NaN where a count should be."""
    sandbox.world.add(job("J1"))
    sandbox.faults.append(Fault("nan"))

    assert '"total_count":NaN' in client.get(ITEMS).text


def test_a_huge_body_is_still_json(sandbox: Sandbox, client: Client) -> None:
    """`huge-body:2` adds two MiB of spaces."""
    sandbox.faults.append(Fault("huge-body", "2"))

    response = client.get(ITEMS)

    assert len(response.content) > 2 * 1024 * 1024
    assert response.json()["data"] == []


def test_a_gzip_bomb_is_small_on_the_wire(sandbox: Sandbox) -> None:
    """`gzip-bomb:8` is a few kB that unpack to 8 MiB."""
    sandbox.faults.append(Fault("gzip-bomb", "8"))
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc)
    connection.request("GET", ITEMS, headers=sandbox.headers())
    response = connection.getresponse()
    body = response.read()
    connection.close()

    assert response.headers["Content-Encoding"] == "gzip"
    assert len(body) < 20_000 < len(gzip.decompress(body)) == 8 * 1024 * 1024


def test_a_repeated_link_points_at_its_own_page(sandbox: Sandbox, paged: Client) -> None:
    """`repeat-link` makes the page after the first its own successor."""
    sandbox.faults.append(Fault("repeat-link", after=1))

    pages = paged.pages(ITEMS, at_most=5)

    assert [page["links"]["next"] for page in pages[1:]] == [pages[0]["links"]["next"]] * 4


def test_aba_cursors_go_to_and_fro(sandbox: Sandbox, paged: Client) -> None:
    """`aba-cursor` makes pages two and three link to each other."""
    sandbox.faults.append(Fault("aba-cursor"))

    pages = paged.pages(ITEMS, at_most=6)

    assert [page["data"][0]["id"] for page in pages] == ["J000", "J100", "J200", "J100", "J200", "J100"]


def test_endless_cursors_never_repeat(sandbox: Sandbox, paged: Client) -> None:
    """`endless-cursor` serves every job once, then empty pages, each with a new cursor."""
    sandbox.faults.append(Fault("endless-cursor"))

    pages = paged.pages(ITEMS, at_most=9)

    assert [len(page["data"]) for page in pages] == [100, 100, 50, 0, 0, 0, 0, 0, 0]
    assert len({page["links"]["next"] for page in pages}) == 9


def test_a_foreign_link_leads_to_the_origin_given(sandbox: Sandbox, paged: Client) -> None:
    """`foreign-link` keeps the path and changes the origin."""
    sandbox.faults.append(Fault("foreign-link", "http://127.0.0.1:9"))

    assert paged.get(ITEMS).json()["links"]["next"] == f"http://127.0.0.1:9{ITEMS}"


def test_a_moving_list_shows_a_job_twice(sandbox: Sandbox, paged: Client) -> None:
    """`list-moves` repeats the last job of each page on the next, and loses none."""
    sandbox.faults.append(Fault("list-moves"))

    pages = paged.pages(ITEMS)
    ids = [each["id"] for page in pages for each in page["data"]]

    assert max(len(page["data"]) for page in pages) == 100
    assert [job_id for job_id in sorted(set(ids)) if ids.count(job_id) == 2] == ["J099", "J198"]
    assert sorted(set(ids)) == [f"J{number:03}" for number in range(250)]


def test_odd_fields_come_on_top(sandbox: Sandbox, client: Client) -> None:
    """`odd-field` adds members and takes none away, in lists and details."""
    sandbox.world.add(job("J1"))
    plain = client.get(f"{ITEMS}/J1").json()["data"]
    sandbox.faults.append(Fault("odd-field"))

    odd = client.get(f"{ITEMS}/J1").json()["data"]

    assert set(odd) - set(plain) == {"meta"}
    assert set(odd["attributes"]) - set(plain["attributes"]) == {"priority"}


def test_an_unknown_status_is_served(sandbox: Sandbox, client: Client) -> None:
    """`unknown-status` gives every job a status nobody has documented."""
    sandbox.world.add(job("J1"))
    sandbox.faults.append(Fault("unknown-status"))

    assert client.get(ITEMS).json()["data"][0]["attributes"]["status"] == "paused"


def test_rules_choose_the_requests(sandbox: Sandbox, client: Client) -> None:
    """A fault is applied only to what matches kind, endpoint and path, and counts only that."""
    fault = Fault("status", kind="item-create", endpoint="list", path="complete", nth=2)
    sandbox.faults.append(fault)
    matching = f"{ITEMS}?filter=equals(status,'complete')"

    statuses = [
        client.get(path).status_code for path in (CATEGORIES, matching, f"{ITEMS}/J1", ITEMS, matching, matching)
    ]

    assert statuses == [200, 200, 404, 200, 500, 200]
    assert (fault.seen, fault.applied) == (3, 1)


def test_a_fault_can_be_limited(sandbox: Sandbox, client: Client) -> None:
    """`after` lets the first ones pass, `times` ends it."""
    sandbox.faults.append(Fault("status", after=1, times=2))

    assert [client.get(ITEMS).status_code for _ in range(5)] == [200, 500, 500, 200, 200]


def test_chance_is_seeded(sandbox: Sandbox, client: Client) -> None:
    """`one_in` chooses the same requests for the same seed, and about as many as it says."""
    chosen = []
    for seed in (1, 1, 2):
        sandbox.faults[:] = [Fault("status", one_in=4, seed=seed)]
        chosen.append([client.get(ITEMS).status_code == 500 for _ in range(60)])

    assert chosen[0] == chosen[1] != chosen[2]
    assert 5 <= sum(chosen[0]) <= 25


def test_a_fault_can_be_written_as_text() -> None:
    """The command line's form carries name, argument and rules; a URL keeps its colon."""
    fault = parse_fault("status:503@kind=item-create,times=2", seed=7)

    assert (fault.name, fault.argument, fault.kind, fault.times, fault.seed) == ("status", "503", "item-create", 2, 7)
    assert parse_fault("redirect:http://a@b:9/x").argument == "http://a@b:9/x"


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "nope",
        "status@color=red",
        "status@kind=item",
        "status@nth=x",
        "slow@one_in=0",
        "slow@endpoint=page",
        "slow:long",
        "redirect",
        "status:no",
    ],
)
def test_a_mistaken_fault_is_refused_at_once(spec: str) -> None:
    """Unknown names, rules and values are errors where they are written."""
    with pytest.raises(ValueError, match=r"."):
        parse_fault(spec)


@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_breaks_the_sandbox(sandbox: Sandbox, client: Client, name: str) -> None:
    """Every fault copes with an empty list, a detail and a 404, and the next request is answered."""
    sandbox.world.add(job("J1"))
    url = "http://127.0.0.1:9/"
    argument = {"redirect": url, "foreign-link": url, "slow": "0", "drip": "0.01", "huge-body": "1", "gzip-bomb": "1"}
    for path in (CATEGORIES, ITEMS, f"{ITEMS}/J1", f"{ITEMS}/nope"):
        sandbox.faults[:] = [Fault(name, argument.get(name, ""))]
        try:
            status = client.get(path).status_code
        except requests.RequestException:
            status = 0
        sandbox.faults.clear()
        client.get(CATEGORIES).raise_for_status()

        if name not in ("status", "html"):
            assert status < 500


def test_faults_leave_refused_keys_alone(sandbox: Sandbox) -> None:
    """A 401 is a 401, whatever faults are at work."""
    sandbox.faults.append(Fault("status"))

    assert requests.get(sandbox.base_url + ITEMS, timeout=10).status_code == 401


def test_faults_can_be_there_from_the_start() -> None:
    """The constructor takes faults."""
    with Sandbox(clock=NOW, faults=[Fault("status")]) as sandbox:
        assert Client(sandbox).get(ITEMS).status_code == 500
