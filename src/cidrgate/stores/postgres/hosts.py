"""`Hosts`: the order in which the hosts of a URL are tried."""

from __future__ import annotations

from typing import Any

__all__ = ["Hosts"]

_DEFAULT_PORT = "5432"


class Hosts:
    """Remembers which of several hosts was the right one, so that the others are not asked before it. Thread-safe."""

    def __init__(self) -> None:
        self._last: tuple[str, str] | None = None

    def in_order(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments for libpq with the host first that answered last.

        Example:
            >>> hosts = Hosts()
            >>> hosts.answered("b", 2)
            >>> ordered = hosts.in_order({"host": "a,b,c", "port": "1,2,3", "user": "me"})
            >>> ordered["host"], ordered["port"]
            ('b,a,c', '2,1,3')
        """
        hosts = str(arguments.get("host", "")).split(",")
        last = self._last
        if len(hosts) == 1 or last is None or "hostaddr" in arguments:
            return arguments
        ports = str(arguments.get("port", "")).split(",")
        if len(ports) == 1:  # that of every host; without one, the environment may say which it is
            return {**arguments, "host": ",".join(sorted(hosts, key=lambda host: host != last[0]))}
        places = sorted(zip(hosts, ports, strict=True), key=lambda place: (place[0], place[1] or _DEFAULT_PORT) != last)
        return {
            **arguments,
            "host": ",".join(host for host, _ in places),
            "port": ",".join(port for _, port in places),
        }

    def answered(self, host: str, port: int) -> None:
        """Remember a host that accepted a connection."""
        self._last = host, str(port)
