"""
A local stand-in for Klaviyo's bulk-job API: a real HTTP server on loopback, for tests and demos.

    with Sandbox(world="demo", seed=1) as sandbox:
        requests.get(f"{sandbox.base_url}/api/catalog-item-bulk-create-jobs", headers=sandbox.headers())

In:     HTTP requests; jobs, time, rate limits and faults, as a test, the command line or the control paths set them.
Out:    the answers of Klaviyo's API, or what a fault makes of them; a record of each request.
Never:  listens beyond loopback, keeps a key that it was sent, sends a request, imports the extractor.

As a program: `python -m klaviyo_sandbox --help`.
"""

from klaviyo_sandbox.clock import Clock
from klaviyo_sandbox.exchange import RequestRecord
from klaviyo_sandbox.faults import Fault
from klaviyo_sandbox.jobs import Job, JobError, JobPlan, RawJob, related_id, ulid_at
from klaviyo_sandbox.kinds import CATALOG_KINDS, KINDS, SCOPES, JobKind
from klaviyo_sandbox.limits import RateLimits
from klaviyo_sandbox.server import Sandbox
from klaviyo_sandbox.state import Account
from klaviyo_sandbox.world import World
from klaviyo_sandbox.worlds import WORLDS, build_world

__all__ = [
    "CATALOG_KINDS",
    "KINDS",
    "SCOPES",
    "WORLDS",
    "Account",
    "Clock",
    "Fault",
    "Job",
    "JobError",
    "JobKind",
    "JobPlan",
    "RateLimits",
    "RawJob",
    "RequestRecord",
    "Sandbox",
    "World",
    "build_world",
    "related_id",
    "ulid_at",
]
