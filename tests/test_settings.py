"""Settings: where each comes from, which comes first, and what cannot be used."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from klaviyo_jobs.addresses import origin_of
from klaviyo_jobs.choices import select_kinds, select_relationships
from klaviyo_jobs.errors import SettingError
from klaviyo_jobs.keys import ApiKey
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.settings import (
    Settings,
    check_base_url,
    check_revision,
    read_check_settings,
    read_network_settings,
    read_settings,
    resolve_keys,
)

PREFIX = "SOURCES__KLAVIYO_JOBS__"
SECTION = "[sources.klaviyo_jobs]\n"
WriteDlt = Callable[[str, str], None]


@pytest.fixture
def write_dlt() -> Iterator[WriteDlt]:
    """Write files of dlt's in the working directory; dlt reads them once in a process unless told to do so again."""
    context = Container()[PluggableRunContext]

    def write(name: str, text: str) -> None:
        Path(".dlt").mkdir(exist_ok=True)
        (Path(".dlt") / name).write_text(text)
        context.reload(str(Path.cwd()))

    yield write
    shutil.rmtree(".dlt", ignore_errors=True)
    context.reload(str(Path.cwd()))


def revealed(keys: dict[str, ApiKey]) -> dict[str, str]:
    return {label: key.reveal() for label, key in keys.items()}


# Where they come from.


def test_without_any_setting_the_defaults_hold() -> None:
    """The address is Klaviyo's, all kinds are read, and the warehouse is in the working directory."""
    settings = read_settings()

    assert settings.api_key is None
    assert not settings.accounts
    assert settings.base_url == "https://a.klaviyo.com"
    assert settings.revision == "2026-07-15"
    assert settings.kinds is None
    assert settings.include is None
    assert settings.warehouse == "warehouse.duckdb"


def test_the_environment_sets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are written as JSON arrays."""
    for name, value in {
        "API_KEY": "pk_environment",
        "BASE_URL": "https://proxy.example",
        "REVISION": "2025-01-15",
        "KINDS": '["item-create", "item-delete"]',
        "INCLUDE": '["items"]',
        "WAREHOUSE": "other.duckdb",
    }.items():
        monkeypatch.setenv(PREFIX + name, value)

    settings = read_settings()

    assert (settings.api_key, settings.base_url, settings.revision, settings.warehouse) == (
        *("pk_environment", "https://proxy.example", "2025-01-15", "other.duckdb"),
    )
    assert (settings.kinds, settings.include) == (["item-create", "item-delete"], ["items"])


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("item-create", ["item-create"]),
        ("item-create,item-delete", ["item-create", "item-delete"]),
        (" item-create , item-delete, ", ["item-create", "item-delete"]),
        ('["item-create", "item-delete"]', ["item-create", "item-delete"]),
    ],
)
def test_names_may_be_written_with_commas(written: str, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a variable; a list as in TOML is a list as well."""
    monkeypatch.setenv(PREFIX + "KINDS", written)

    assert read_settings().kinds == names


def test_names_with_commas_may_stand_in_a_file(write_dlt: WriteDlt) -> None:
    """Who has written one in a variable writes it there too."""
    write_dlt("config.toml", SECTION + 'include = "categories, items"\n')

    assert read_settings().include == ["categories", "items"]


@pytest.mark.parametrize("written", ['["item-create"', '{"a": 1}x[', "[1, 2]"])
def test_a_list_that_cannot_be_read_names_place_and_example(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, what stands in it, and how it is written."""
    monkeypatch.setenv(PREFIX + "KINDS", written)

    if written.startswith("["):
        with pytest.raises(SettingError) as caught:
            read_settings()
        assert caught.value.message == f"{PREFIX}KINDS is {written!r}, which is no list of names."
        assert caught.value.next_step == "write e.g. item-create,category-create"
    else:
        with pytest.raises(SettingError, match="unknown job kind"):
            select_kinds(read_settings().kinds)


def test_no_kind_at_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that reads nothing would be well for ever."""
    monkeypatch.setenv(PREFIX + "KINDS", "")

    with pytest.raises(SettingError, match="`kinds` is empty"):
        select_kinds(read_settings().kinds)


def test_a_value_of_the_wrong_form_names_the_line_of_its_file(write_dlt: WriteDlt) -> None:
    """What was found, and an example in the form of the file."""
    write_dlt("config.toml", SECTION + '\nmax_pages = "many"\n')

    with pytest.raises(SettingError) as caught:
        read_network_settings()

    path = Path(".dlt", "config.toml").absolute()
    assert caught.value.message == f"max_pages in {path}, line 3 is 'many', which cannot be read as a whole number."
    assert caught.value.next_step == "write e.g. max_pages = 20"


def test_the_environment_precedes_secrets_and_secrets_precede_config(
    write_dlt: WriteDlt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everywhere in dlt."""
    monkeypatch.setenv(PREFIX + "REVISION", "2026-01-01")
    write_dlt("secrets.toml", SECTION + 'revision = "2026-02-02"\nwarehouse = "secrets.duckdb"\napi_key = "pk_s"\n')
    write_dlt(
        "config.toml", SECTION + 'revision = "2026-03-03"\nwarehouse = "config.duckdb"\nkinds = ["item-create"]\n'
    )

    settings = read_settings()

    assert (settings.revision, settings.warehouse, settings.kinds, settings.api_key) == (
        *("2026-01-01", "secrets.duckdb", ["item-create"], "pk_s"),
    )


def test_accounts_come_from_a_table_of_labels(write_dlt: WriteDlt) -> None:
    """`[sources.klaviyo_jobs.accounts]` in the secrets file."""
    write_dlt("secrets.toml", '[sources.klaviyo_jobs.accounts]\nshop_eu = "pk_eu"\nshop_us = "pk_us"\n')

    settings = read_settings()

    assert revealed(resolve_keys(settings.api_key, settings.accounts)) == {"shop_eu": "pk_eu", "shop_us": "pk_us"}


def test_accounts_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`SOURCES__KLAVIYO_JOBS__ACCOUNTS__SHOP_EU` is the account shop_eu."""
    monkeypatch.setenv(PREFIX + "ACCOUNTS__SHOP_EU", "pk_eu")
    monkeypatch.setenv(PREFIX + "ACCOUNTS__SHOP_US", "pk_us")

    settings = read_settings()

    assert revealed(resolve_keys(settings.api_key, settings.accounts)) == {"shop_eu": "pk_eu", "shop_us": "pk_us"}


def test_a_label_in_the_environment_precedes_the_file(write_dlt: WriteDlt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels of both places are read, and the environment has the last word on one that is in both."""
    monkeypatch.setenv(PREFIX + "ACCOUNTS__SHOP_EU", "pk_environment")
    write_dlt("secrets.toml", '[sources.klaviyo_jobs.accounts]\nshop_eu = "pk_file"\nshop_us = "pk_us"\n')

    settings = read_settings()

    assert revealed(resolve_keys(settings.api_key, settings.accounts)) == {
        "shop_eu": "pk_environment",
        "shop_us": "pk_us",
    }


def test_the_source_alone_finds_accounts_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who uses the dlt source without our command gets the same accounts."""
    monkeypatch.setenv(PREFIX + "ACCOUNTS__SHOP_EU", "pk_eu")

    assert revealed(resolve_keys(None, None)) == {"shop_eu": "pk_eu"}


# Keys.


def test_one_key_is_the_account_default() -> None:
    """Spaces and line ends that copying brings along are cut off."""
    assert revealed(resolve_keys(" pk_one ", None)) == {"default": "pk_one"}


def assert_setting_error(error: SettingError, message: str, next_step: str) -> None:
    assert error.exit_code == 2
    assert error.data == "nothing was read or written."
    assert re.search(message, error.message)
    assert re.search(next_step, error.next_step or "")


@pytest.mark.parametrize("api_key", [None, ""])
@pytest.mark.parametrize("has_file", [False, True])
def test_no_key_says_where_it_was_looked_for(api_key: str | None, has_file: bool) -> None:
    """Both names in the environment and the file, and whether that file is there."""
    if has_file:
        Path(".dlt").mkdir()
        Path(".dlt", "secrets.toml").touch()

    with pytest.raises(SettingError) as caught:
        resolve_keys(api_key, {})

    state = "has none" if has_file else "no such file"
    assert_setting_error(
        caught.value,
        rf"^no API key\. Looked at {PREFIX}API_KEY, {PREFIX}ACCOUNTS__<LABEL>, then \.dlt/secrets\.toml \({state}\)\.$",
        r"catalogs:read .*`klaviyo-jobs demo` runs without a key\.$",
    )


def test_both_forms_of_keys_are_refused() -> None:
    """One key and a table of accounts: whose key it is cannot be told."""
    with pytest.raises(SettingError) as caught:
        resolve_keys("pk_one", {"shop_eu": "pk_eu"})

    assert_setting_error(caught.value, "^both `api_key` and `accounts` are set", f"{PREFIX}API_KEY")
    assert "pk_" not in str(caught.value)


def test_settings_hide_keys() -> None:
    """Neither a single key nor those of accounts are in the text of the settings."""
    settings = Settings(api_key="pk_secret_4711", accounts={"a": "pk_secret_4712"})

    assert "471" not in f"{settings!r} {settings}"


def test_the_accounts_are_those_whose_keys_are_set() -> None:
    """One key is the account `default`; labels come in the order of the alphabet."""
    assert Settings(api_key="pk_one").labels == ["default"]
    assert Settings(accounts={"shop_us": "pk_two", "shop_eu": "pk_three"}).labels == ["shop_eu", "shop_us"]


# Kinds and relationships.


def test_no_kinds_are_those_of_catalogs() -> None:
    """None is "not set"; the other kinds take scopes that a key may not have."""
    assert [kind.name for kind in select_kinds(None)] == list(KINDS)[:9]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["all"], list(KINDS)),
        (["profile-*"], ["profile-import", "profile-suppress", "profile-unsuppress"]),
        (
            ["*-create", "item-delete"],
            ["item-create", "item-delete", "variant-create", "category-create", "coupon-code-create"],
        ),
        (["profile-?nsuppress", "item-[ud]*"], ["item-update", "item-delete", "profile-unsuppress"]),
    ],
)
def test_kinds_may_be_named_by_patterns(names: list[str], expected: list[str]) -> None:
    """As in a shell; `all` is every kind."""
    assert [kind.name for kind in select_kinds(names)] == expected


def test_kinds_are_read_once_each_in_the_fixed_order() -> None:
    """Whatever the order and number in which they are named."""
    names = ["variant-delete", "item-create", "variant-delete"]

    assert [kind.name for kind in select_kinds(names)] == ["item-create", "variant-delete"]


@pytest.mark.parametrize("name", ["item-fly", "ITEM-CREATE", "item_create", "", "items", "order-*", "ALL"])
def test_an_unknown_kind_is_named_with_those_that_are_known(name: str) -> None:
    """The message holds what was written and what can be written."""
    with pytest.raises(SettingError) as caught:
        select_kinds(["item-create", name])

    assert caught.value.message == f"unknown job kind {name!r} in `kinds`."
    assert caught.value.next_step == f"choose from {', '.join(KINDS)}, all."


def test_categories_are_included_unless_told_otherwise() -> None:
    """Items and variants opt in; an empty list reads no details."""
    assert select_relationships(None) == {"categories"}
    assert select_relationships([]) == set()
    assert select_relationships(["items", "variants"]) == {"items", "variants"}


def test_an_unknown_relationship_is_named_with_those_that_are_known() -> None:
    """As for kinds."""
    with pytest.raises(SettingError) as caught:
        select_relationships(["tags", "brands"])

    assert caught.value.message == "unknown relationship 'brands', 'tags' in `include`."
    assert caught.value.next_step == "choose from items, variants, categories, coupon-codes, lists."


# The address.


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://a.klaviyo.com", "https://a.klaviyo.com"),
        ("https://a.klaviyo.com/", "https://a.klaviyo.com"),
        ("https://proxy.example:8443", "https://proxy.example:8443"),
        ("HTTPS://A.KLAVIYO.COM", "HTTPS://A.KLAVIYO.COM"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_address_is_https_or_on_this_machine(given: str, used: str) -> None:
    """Plain http is for loopback only; a slash at the end is cut off."""
    assert check_base_url(given) == used


@pytest.mark.parametrize(
    "address",
    [
        *("http://a.klaviyo.com", "http://10.0.0.1", "http://127.0.0.1.example", "http://localhost.example"),
        "http://0.0.0.0:80",
    ],
)
def test_plain_http_to_another_machine_is_refused(address: str) -> None:
    """The key is never sent unencrypted, however the address is disguised."""
    with pytest.raises(SettingError) as caught:
        check_base_url(address)

    assert_setting_error(caught.value, "would send the API key unencrypted", "use https")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a.klaviyo.com",
        "https://",
        "ftp://a.klaviyo.com",
        "https://a.klaviyo.com:port",
        "https://[::1",
        "//a.example",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """The message shows it and names the default."""
    with pytest.raises(SettingError) as caught:
        check_base_url(address)

    assert_setting_error(
        caught.value,
        f"^base_url {re.escape(repr(address))} is not an http\\(s\\) address",
        "remove the setting to use https://a.klaviyo.com",
    )


def test_an_address_for_another_scheme_is_not_taken_for_loopback_http() -> None:
    """Loopback excuses http, nothing else."""
    with pytest.raises(SettingError):
        check_base_url("ftp://127.0.0.1:21")


@pytest.mark.parametrize("url", ["https://a.klaviyo.com/x", "https://a.klaviyo.com:443", "HTTPS://A.Klaviyo.COM/y?z#w"])
def test_an_origin_is_scheme_host_and_port(url: str) -> None:
    """Case and the default port make no difference."""
    assert origin_of(url) == ("https", "a.klaviyo.com", 443)


@pytest.mark.parametrize(
    "url", ["http://a.klaviyo.com", "https://a.klaviyo.com:444", "https://b.klaviyo.com", "https://a.klaviyo.com.evil"]
)
def test_another_scheme_host_or_port_is_another_origin(url: str) -> None:
    """Any of the three."""
    assert origin_of(url) != ("https", "a.klaviyo.com", 443)


# The revision.


@pytest.mark.parametrize("revision", ["2022-10-17", "2026-07-15", "2026-10-15.pre"])
def test_a_revision_is_a_date_with_or_without_a_suffix(revision: str) -> None:
    """Beta revisions have a suffix."""
    assert check_revision(revision) == revision


@pytest.mark.parametrize("revision", ["latest", "2026-7-15", "20260715", "", "2026-07-15\r\nX: y", "2026-07-15\n"])
def test_what_is_no_date_is_no_revision(revision: str) -> None:
    """Nothing that could break a header passes."""
    with pytest.raises(SettingError) as caught:
        check_revision(revision)

    assert_setting_error(caught.value, "is not a date like 2026-07-15", "remove the setting to use 2026-07-15")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_threshold_is_a_number_that_can_be_reached(value: float) -> None:
    """A share above `nan` or `inf` would never come: such a threshold turns its check off without saying so."""
    with pytest.raises(SettingError) as caught:
        read_check_settings(max_failed_share=value)

    assert_setting_error(
        caught.value,
        f"^--max-failed-share is {value}, which is not a share from 0 to 1, or from 0% to 100%\\.$",
        r"^write e\.g\. 0\.05, or remove it: the default is 0\.1\.$",
    )


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("max_failed_share", 5, "a share from 0 to 1"),
        ("max_failed_share", "500%", "a share from 0 to 1"),
        ("max_limit_share", 90, "a share from 0 to 1"),
        ("max_silence", 0, "a number from 1 up"),
        ("check_window_seconds", 0, "a duration from 1 min 0 s up"),
        ("max_listing_age_seconds", "8d", "a duration from 0 s to 7 d 0 h"),
        ("repeat_after", "30d", "a duration from 0 s to 7 d 0 h"),
    ],
)
def test_a_value_that_would_disarm_an_alarm_is_refused(
    name: str, value: Any, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a person meant it or not: an alarm that cannot come is worse than none."""
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", str(value))

    with pytest.raises(SettingError) as caught:
        read_check_settings()

    assert caught.value.message.startswith(f"{PREFIX}{name.upper()} is ")
    assert f"which is not {wanted}" in caught.value.message


def test_shares_and_durations_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment as in options."""
    monkeypatch.setenv(f"{PREFIX}MAX_FAILED_SHARE", "5%")
    monkeypatch.setenv(f"{PREFIX}REPEAT_AFTER", "2h")

    settings = read_check_settings(check_window_seconds="1d12h")

    assert (settings.max_failed_share, settings.repeat_after, settings.check_window_seconds) == (0.05, 7200, 129600)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512_000_000), ("2GB", 2_000_000_000), ("1.5 GiB", 1_610_612_736), (" 300000 kb ", 300_000_000)],
)
def test_a_memory_limit_is_a_number_with_a_unit(text: str, size: int) -> None:
    """Units of 1000, or of 1024 with an i; the database has half of it."""
    settings = Settings(memory_limit=text)

    assert (settings.memory.limit_bytes, settings.memory.database_bytes) == (size, size // 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("512", "memory_limit '512' is not a size."),
        ("half", "memory_limit 'half' is not a size."),
        ("255MB", "memory_limit '255MB' is too little."),
    ],
)
def test_a_memory_limit_that_cannot_be_kept_to_is_refused(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a unit nobody knows what is meant; below the least there is no room for what the command itself needs."""
    monkeypatch.setenv(f"{PREFIX}MEMORY_LIMIT", text)

    with pytest.raises(SettingError) as caught:
        read_settings()

    assert caught.value.message == message
    assert caught.value.next_step == "set 256MB or more, e.g. 512MB or 2GB, or remove the setting."


def test_the_folder_for_what_does_not_fit_may_begin_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    """As people type it."""
    monkeypatch.setenv("HOME", "/home/someone")

    assert Settings(temp_directory="~/spill").memory.spill_directory == Path("/home/someone/spill")
