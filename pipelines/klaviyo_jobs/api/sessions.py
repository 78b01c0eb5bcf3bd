"""
Plain sessions of requests for one account: where the key, the proxies and the certificates of its GETs are set.

In:     a key, the configured origin and the timeouts.
Out:    open answers, whose connections obey the `Deadline` of their thread.
Never:  a redirect that is followed, a netrc file that is asked, a proxy for a server on this machine.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Final

import requests
from requests.utils import get_environ_proxies

from klaviyo_jobs.addresses import is_loopback, origin_of
from klaviyo_jobs.api.deadline import BoundedAdapter
from klaviyo_jobs.api.redaction import KeyAuth, hide_from_logs
from klaviyo_jobs.keys import ApiKey
from klaviyo_jobs.settings import NetworkSettings

# Requests that may be under way at once: enough to fill the widest burst at 350 ms an answer.
CONNECTIONS: Final = 128


class Sessions:
    """
    One session for each thread, since requests promises nothing of one that threads share, over shared connections.

    Args:
        key: Sent to the origin of *base_url* only.
        headers: Sent with every request.
    """

    def __init__(self, key: ApiKey, base_url: str, network: NetworkSettings, headers: Mapping[str, str]) -> None:
        self._auth = KeyAuth(key, origin_of(base_url))
        hide_from_logs(key)
        self._base_url = base_url
        self._headers = dict(headers)
        self._timeouts = network.connect_timeout_seconds, network.read_timeout_seconds
        # Proxies and certificates are looked up once; requests would look for them at every call.
        # A server on this machine is never behind a proxy, which would see the key in plain text.
        self._proxies = {} if is_loopback(base_url) else get_environ_proxies(base_url)
        self._certificates = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._adapter = BoundedAdapter(pool_maxsize=CONNECTIONS)
        self._of_thread = threading.local()

    def get(self, url: str, params: Mapping[str, str] | None) -> requests.Response:
        """Send one GET and return its answer as soon as its head is there; redirects are not followed."""
        session, request = self._session_and_request()
        request.prepare_url(url, params)
        request.prepare_auth(self._auth)
        return session.send(
            request,
            timeout=self._timeouts,
            stream=True,
            allow_redirects=False,
            proxies=self._proxies,
            verify=self._certificates,
        )

    def close(self) -> None:
        """Close the connections that are kept for a next request."""
        self._adapter.close()

    def _session_and_request(self) -> tuple[requests.Session, requests.PreparedRequest]:
        """Return this thread's session, and a request that lacks only its address and what goes by that."""
        made: tuple[requests.Session, requests.PreparedRequest] | None = getattr(self._of_thread, "made", None)
        if made is None:
            session = requests.Session()
            session.trust_env = False
            session.headers.update(self._headers)
            for scheme in ("http://", "https://"):
                session.mount(scheme, self._adapter)
            # To merge headers, cookies and settings anew for every page takes as long as to send the request.
            made = self._of_thread.made = session, session.prepare_request(requests.Request("GET", self._base_url))
        session, request = made
        return session, request.copy()
