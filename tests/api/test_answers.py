"""What an answer means that is not tried again."""

from __future__ import annotations

import pytest

from klaviyo_jobs.errors import KeyRefusedError, RevisionError, StatusError, UnavailableError
from klaviyo_sandbox import Fault, Sandbox
from support.clients import PATH, client_of, fetch, whole_text

WRONG_KEY = "pk_wrong_4711"


@pytest.mark.parametrize("status", [400, 404, 405, 409, 415])
def test_a_refused_request_is_not_retried(sandbox: Sandbox, status: int) -> None:
    """A 4xx other than 429 ends at the first answer, with its status and the API's own words."""
    sandbox.faults.append(Fault("status", str(status)))

    with pytest.raises(StatusError) as caught:
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1
    assert caught.value.status == status
    assert caught.value.message.startswith(f"item-create, page 1: answered {status}: ")
    assert caught.value.next_step == f"check `revision` (now 2026-07-15) and `base_url` (now {sandbox.base_url})."


def test_a_revision_in_the_future_is_told_from_a_missing_job(sandbox: Sandbox) -> None:
    """The 404 of a revision fault is read: the setting is wrong, not the job gone."""
    client = client_of(sandbox, revision="2030-01-01")

    with pytest.raises(RevisionError) as caught:
        fetch(client, f"{PATH}/J1")

    assert caught.value.message == (
        "item-create, page 1: revision 2030-01-01 is not served (404: Unable to specify a future revision date)."
    )
    assert caught.value.next_step == "set `revision` to 2026-07-15, or remove the setting."


def test_a_retired_revision_is_refused_only_with_the_opt_out(sandbox: Sandbox) -> None:
    """By default Klaviyo answers in the shape of a newer revision; with the opt-out it says 410."""
    forgiving = client_of(sandbox, revision="2023-12-15")
    strict = client_of(sandbox, revision="2023-12-15", fall_forward_opt_out=True)

    assert fetch(forgiving).body["data"] == []
    with pytest.raises(RevisionError, match=r"revision 2023-12-15 is not served \(410"):
        fetch(strict)


def test_a_refused_request_without_the_apis_form_names_the_host(sandbox: Sandbox) -> None:
    """A 404 page of some web server points at `base_url`."""
    sandbox.faults.append(Fault("html", "404"))

    with pytest.raises(StatusError) as caught:
        fetch(client_of(sandbox))

    assert caught.value.message == "item-create, page 1: answered 404 without an error of Klaviyo's form"
    assert caught.value.next_step == f"check `base_url`: {sandbox.base_url} does not look like the Klaviyo API."


def test_a_wrong_key_is_refused_at_once(sandbox: Sandbox) -> None:
    """A 401 is no reason to try again; the message names the account and the scope, not the key."""
    with pytest.raises(KeyRefusedError) as caught:
        fetch(client_of(sandbox, key=WRONG_KEY))

    assert len(sandbox.requests) == 1
    error = caught.value
    assert error.message == (
        "Klaviyo refused the key of account 'default' (401: Incorrect authentication credentials.)."
    )
    assert error.data == "nothing of this account was read after that; what was read before is loaded."
    assert "catalogs:read" in (error.next_step or "")
    assert "4711" not in whole_text(error)


def test_a_key_without_the_scope_is_refused_at_once(sandbox: Sandbox) -> None:
    """A 403 is the key's fault as well."""
    sandbox.accounts["default"].scopes = frozenset()

    with pytest.raises(KeyRefusedError, match=r"refused the key of account 'default' \(403: "):
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1


def test_a_web_page_from_a_host_that_never_answered_otherwise_ends_at_once(sandbox: Sandbox) -> None:
    """A sign-in page answers 200 for ever: it is told apart at the first answer."""
    sandbox.faults.append(Fault("html", "200"))

    with pytest.raises(UnavailableError) as caught:
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1
    assert caught.value.message == (
        f"item-create, page 1: {sandbox.base_url} answers with a web page; it is not the Klaviyo API."
    )
    assert caught.value.next_step == "check `base_url`, and whether a proxy or a sign-in page stands in between."


def test_a_web_page_between_good_answers_is_tried_again(sandbox: Sandbox) -> None:
    """A host that has answered as the API before has a bad moment."""
    sandbox.faults.append(Fault("html", "200", nth=2))
    client = client_of(sandbox)

    fetch(client)
    fetch(client)

    assert len(sandbox.requests) == 3


def test_redirects_are_not_followed(sandbox: Sandbox, other: Sandbox) -> None:
    """A redirect is an error that names the setting; the other server hears nothing."""
    sandbox.faults.append(Fault("redirect", f"{other.base_url}{PATH}"))

    with pytest.raises(StatusError) as caught:
        fetch(client_of(sandbox))

    assert caught.value.status == 302
    assert caught.value.next_step == (
        "set `base_url` to the address that answers by itself; redirects are not followed."
    )
    assert len(sandbox.requests) == 1
    assert other.requests == []


def test_a_redirect_within_the_origin_is_not_followed_either(sandbox: Sandbox) -> None:
    """Links are followed as they are served, or not at all."""
    sandbox.faults.append(Fault("redirect", f"{sandbox.base_url}{PATH}/", times=1))

    with pytest.raises(StatusError):
        fetch(client_of(sandbox))

    assert len(sandbox.requests) == 1
