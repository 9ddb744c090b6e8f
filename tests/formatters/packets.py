"""A program in a network of its own that loads rules and sends packets from any address: which of them arrive?"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from cidrgate.formatters.formatter import escaped

_IP_FREEBIND = 15
_IPV6_FREEBIND = 78
_ENDS = {
    socket.AF_INET: ("127.0.0.1", socket.IPPROTO_IP, _IP_FREEBIND),
    socket.AF_INET6: ("::1", socket.IPPROTO_IPV6, _IPV6_FREEBIND),
}
_HERE = ("ip link set lo up", "ip route add local 0.0.0.0/0 dev lo", "ip -6 route add local ::/0 dev lo")
"""With these routes every address is one of this host, so packets may come from it."""

_FIRST_PORT = 20_000


def main(folder: Path) -> list[bool]:
    """Send a packet for each account and address, to the port of the account."""
    asked: list[tuple[str, str]] = json.loads((folder / "asked.json").read_text())
    accounts = list(dict.fromkeys(account for account, _ in asked))
    ports = {account: _FIRST_PORT + number for number, account in enumerate(accounts)}
    jumps = "\n".join(f"udp dport {port} jump account_{escaped(name, '.')}" for name, port in ports.items())
    hook = "type filter hook input priority 0; policy accept;"
    chain = f"table inet cidrgate {{ chain arriving {{ {hook}\n{jumps}\n}}\n}}\n"
    for command in _HERE:
        subprocess.run(command.split(), check=True)
    subprocess.run(["nft", "-f", str(folder / "lists.nft")], check=True)
    subprocess.run(["nft", "-f", "-"], input=chain, text=True, check=True)
    sockets: dict[tuple[int, int], socket.socket] = {}
    for family, (end, _, _) in _ENDS.items():
        for port in ports.values():
            receiver = sockets[family, port] = socket.socket(family, socket.SOCK_DGRAM)
            receiver.bind((end, port))
            receiver.settimeout(0)
    return [_arrives(sockets, ports[account], address) for account, address in asked]


def _arrives(sockets: dict[tuple[int, int], socket.socket], port: int, address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end, level, free = _ENDS[family]
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(level, free, 1)
        sender.bind((address, 0))
        sender.sendto(address.encode(), (end, port))
    try:
        # A packet over the loopback has arrived, or was dropped, before `sendto` returns.
        return sockets[family, port].recv(100) == address.encode()
    except BlockingIOError:
        return False


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
