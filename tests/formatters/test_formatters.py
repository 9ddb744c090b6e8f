"""What files for other programs say, as far as no program is needed to see it."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cidrgate.cli.program_lists import ProgramFormat
from cidrgate.formatters import FORMATTERS, AccountList, UnwritableListError
from cidrgate.formatters.formatter import escaped, without_mapped
from tests.formatters.samples import HOSTILE_NAMES, LISTS, LONG_NAMES, addresses_of, names, verdict
from tests.golden import MAPPED, read_address
from tests.strategies import addresses_near, networks

FORMS = list(FORMATTERS)


def written(form: str, *lists: AccountList) -> str:
    return "".join(FORMATTERS[form].write(lists))


def test_the_command_knows_every_formatter() -> None:
    assert [one.value for one in ProgramFormat] == FORMS
    assert {one.name: one.extension for one in FORMATTERS.values()} == {
        "nginx": "conf",
        "haproxy": "map",
        "envoy": "json",
        "nftables": "nft",
        "aws-waf": "jsonl",
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_written_in_pieces(form: str) -> None:
    taken: list[str] = []

    def lists() -> Any:
        for one in LISTS:
            taken.append(one.account)
            yield one

    pieces = iter(FORMATTERS[form].write(lists()))
    next(pieces)
    assert len(taken) <= 1
    assert "".join(pieces)
    assert taken == [one.account for one in LISTS]


@pytest.mark.parametrize("form", FORMS)
def test_a_name_cannot_begin_a_line(form: str) -> None:
    """Whatever the names are, the lines have the forms that names of letters have."""
    plain = AccountList(account="name", cidrs=("8.8.8.0/24",))
    forms = {re.sub(r"[0-9A-Fa-f]{2,}", "N", line).split("name")[0][:12] for line in written(form, plain).splitlines()}
    for name in HOSTILE_NAMES:
        for line in written(form, AccountList(account=name, cidrs=("8.8.8.0/24",))).splitlines():
            beginning = re.sub(r"[0-9A-Fa-f]{2,}", "N", line)
            assert any(beginning.startswith(one[:4]) for one in forms), (name, line)


@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_a_program_cannot_hold_is_refused(form: str) -> None:
    for name in LONG_NAMES:
        one = AccountList(account=name, cidrs=())
        if FORMATTERS[form].finds_account or len(escaped(name, "_")) < 100:
            assert written(form, one)
        else:
            with pytest.raises(
                UnwritableListError, match=r"is too long for .*, and at most \d+ are possible"
            ) as raised:
                written(form, one)
            assert repr(name) in str(raised.value)


@given(network=networks(), data=st.data())
def test_haproxy_finds_the_keys_of_the_addresses_of_a_network(network: Any, data: st.DataObject) -> None:
    keys = [
        line[: -len(" 1")] for line in written("haproxy", AccountList(account="a", cidrs=(str(network),))).splitlines()
    ]
    keys = [key for key in keys if not key.startswith("#")]
    asked = data.draw(addresses_near([str(network)]))
    for address in (ip_address(asked), network.network_address, network.broadcast_address):
        in_hexadecimal = address.packed.hex().upper()
        wanted = f"61:{len(in_hexadecimal)}:{in_hexadecimal}"
        expected = read_address(str(address)) in network
        assert any(wanted.startswith(key) for key in keys) == expected


@given(network=networks())
def test_mapped_addresses_are_left_out_and_no_others(network: Any) -> None:
    left = [ip_network(cidr) for cidr in without_mapped([str(network)])]
    assert not any(one.version == 6 and one.overlaps(MAPPED) and not one.subnet_of(MAPPED) for one in left)
    lost = network.num_addresses - sum(one.num_addresses for one in left)
    assert lost == (MAPPED.num_addresses if network.version == 6 and network.supernet_of(MAPPED) else 0)
    assert all(one.subnet_of(network) for one in left)


def aws_sets() -> list[dict[str, Any]]:
    return [json.loads(line) for line in written("aws-waf", *LISTS).splitlines()]


def test_ip_sets_decide_as_cidrgate() -> None:
    sets = aws_sets()
    for one in LISTS:
        own = f"cidrgate-{escaped(one.account, '_')}-ipv"
        held = [ip_network(cidr) for record in sets if record["Name"][:-1] == own for cidr in record["Addresses"]]
        for address in addresses_of(one.cidrs or ()):
            assert any(ip_address(address) in network for network in held) == verdict(one.account, address)
    assert len({record["Name"] for record in aws_sets()}) == 2 * len(LISTS)


def test_ip_sets_fit_the_model_of_the_api() -> None:
    pytest.importorskip("botocore", reason="needs botocore: pip install botocore")
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import validate_parameters

    model = ServiceModel(Loader().load_service_model("wafv2", "service-2")).operation_model("CreateIPSet").input_shape
    for record in aws_sets():
        validate_parameters(record, model)
        assert set(record) <= set(model.members)
        for member, value in record.items():
            shape = model.members[member]
            shape = shape.member if shape.type_name == "list" else shape
            for text in [value] if isinstance(value, str) else value:
                assert not shape.enum or text in shape.enum
                assert re.search(shape.metadata.get("pattern", ""), text)
                assert shape.metadata.get("min", 0) <= len(text) <= shape.metadata.get("max", 1_000)


def test_an_ip_set_is_not_longer_than_aws_allows() -> None:
    cidrs = tuple(f"8.{number >> 8}.{number & 255}.0/24" for number in range(10_000))
    assert (
        len(json.loads(written("aws-waf", AccountList(account="a", cidrs=cidrs)).splitlines()[0])["Addresses"])
        == 10_000
    )
    with pytest.raises(UnwritableListError, match=r"'a' is too long for AWS WAF: an IP set has at most 10,000"):
        written("aws-waf", AccountList(account="a", cidrs=(*cidrs, "9.9.9.0/24")))
    with pytest.raises(UnwritableListError, match="has 10,001"):  # of which one is written as two
        written("aws-waf", AccountList(account="a", cidrs=("0.0.0.0/0", *cidrs[:9_999])))


def test_a_list_without_networks_denies() -> None:
    assert json.loads(written("envoy", AccountList(account="a", cidrs=())))["resources"][0]["typed_config"][
        "rules"
    ] == {
        "action": "ALLOW",
        "policies": {},
    }


def test_names_of_subaccounts_are_written_where_the_program_finds_accounts() -> None:
    one = LISTS[0]
    assert all(json.dumps(name) in written("envoy", one) for name in names(one))
    assert written("nftables", one) == written("nftables", AccountList(account=one.account, cidrs=one.cidrs))
