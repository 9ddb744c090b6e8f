"""Whatever is sent: the short way and the long way of ASGI and WSGI say what the gate says."""

from __future__ import annotations

from hypothesis import given, strategies as st

from cidrgate import Gate
from cidrgate.middleware import asgi, wsgi
from tests.attacks import ATTACKER, LISTED, LISTED_PEER, LISTED_V6, SETUPS, Attack, gates
from tests.in_process import asgi_app, asgi_status, wsgi_app, wsgi_status

GATES = gates()
WATCHED = {
    name: Gate(gate.matcher, unlisted=gate.unlisted, resolver=gate.resolver, hooks=[lambda verdict: None], log="none")
    for name, gate in GATES.items()
}

addresses = st.sampled_from(
    [LISTED, LISTED_V6, LISTED_PEER, ATTACKER, "127.0.0.1", "127.0.0.2", "fd00::2", "127.0.0.9"]
)
forms = st.sampled_from(["{}", " {} ", "::ffff:{}", "{}:80", "[{}]", "[{}]:80", "{}.", "0{}", "{}%eth0", "{}/32"])
hops = st.one_of(
    st.tuples(addresses, forms).map(lambda pair: pair[1].format(pair[0])),
    addresses,
    st.sampled_from(["", "unknown", "_hidden", "unix:", "\xa0", "é", "\0"]),
)
lists = st.lists(hops, max_size=4).map(", ".join)
pairs = st.tuples(st.sampled_from(["for", "FOR", "by", "host"]), hops, st.booleans()).map(
    lambda parts: f'{parts[0]}="{parts[1]}"' if parts[2] else f"{parts[0]}={parts[1]}"
)
forwarded = st.lists(pairs, max_size=4).flatmap(
    lambda parts: st.sampled_from([", ", ";", ",", '"']).map(lambda separator: separator.join(parts))
)
fields = st.one_of(
    st.tuples(st.sampled_from([b"x-forwarded-for", b"X-Forwarded-For", b"cf-connecting-ip", b"x-real-ip"]), lists),
    st.tuples(st.just(b"forwarded"), forwarded),
).map(lambda pair: (pair[0], pair[1].encode("latin-1", "replace")))
peers = st.one_of(addresses, hops, st.none())


@given(st.sampled_from(sorted(SETUPS)), peers, st.lists(fields, max_size=4))
def test_every_edge_says_what_the_gate_says(setup: str, peer: str | None, headers: list[tuple[bytes, bytes]]) -> None:
    request = Attack("", setup, peer, tuple(headers), None)
    expected = 200 if GATES[setup].decide("acct-1", peer, headers).allowed else 403
    for gate in (GATES[setup], WATCHED[setup]):
        assert asgi_status(asgi.AllowlistMiddleware(asgi_app, gate, lambda scope: "acct-1"), request) == expected
        assert wsgi_status(wsgi.AllowlistMiddleware(wsgi_app, gate, lambda environ: "acct-1"), request) == expected
