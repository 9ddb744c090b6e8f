"""Lists that are accepted in one pass, against `ipaddress`; what the rules say of the same ones is in `tests/rules`."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from cidrgate._engine import PlainLists
from cidrgate.errors import InvalidAddressError
from tests.golden import plain_list

BARRED = ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32", "::/64"]

networks = st.sampled_from(
    [
        "8.8.0.0/16",
        "8.8.8.0/24",
        "8.8.8.128/25",
        "8.8.9.0/24",
        "1.1.1.1/32",
        "0.0.0.0/0",
        "10.1.0.0/16",
        "192.0.2.1/32",
        "192.0.0.0/16",
        "2606:4700::/32",
        "2606:4700:0:0::/32",
        "2606:4700::1/128",
        "2606:4701::/32",
        "2A00::/16",
        "2001:db8:1::/48",
        "::/0",
        "::1/128",
        "::ffff:9.9.9.9/128",
        "::ffff:0:0/90",
        "8.8.8.8",
        "8.8.8.8/24",
        "x",
        "é",
        "",
    ]
)


@pytest.mark.parametrize("barred", [[], BARRED])
@given(texts=st.lists(networks, max_size=6), most=st.integers(0, 6))
def test_a_list_is_accepted_when_nothing_overlaps(barred: list[str], texts: list[str], most: int) -> None:
    assert PlainLists(barred).canonical(texts, most) == plain_list(texts, most, barred)


@given(st.lists(st.integers(0, 255), unique=True))
def test_order_does_not_count(numbers: list[int]) -> None:
    texts = [f"8.8.{number}.0/24" for number in numbers]
    plain = PlainLists(())
    assert plain.canonical(texts, 256) == texts
    assert numbers == [] or plain.canonical([*texts, "8.8.0.0/16"], 300) is None
    assert numbers == [] or plain.canonical([f"8.8.{numbers[-1]}.7/32", *texts], 300) is None


def test_text_that_is_canonical_is_the_same_object() -> None:
    text = "2606:4700::/32"
    [same] = PlainLists(()).canonical([text], 1) or []
    assert same is text


def test_what_is_no_list_of_text_is_not_accepted() -> None:
    assert PlainLists(()).canonical([5, None], 9) is None  # type: ignore[list-item]
    for wrong in (None, ("8.8.8.0/24",)):
        with pytest.raises(TypeError):
            PlainLists(()).canonical(wrong, 1)  # type: ignore[arg-type]
    with pytest.raises(InvalidAddressError):
        PlainLists(["x"])
