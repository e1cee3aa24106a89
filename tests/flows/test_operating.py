"""What docs/operating.md tells operators to do is done here: the proxy's configuration, back-up and restore,
the unit.
"""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import nullcontext
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from protocol import redirect_uris
from tests import jose
from tests.flows.driving import LOG_THE_PROCESS
from tests.live import PROJECT, LiveServer, free_port, live_server, new_database

GUIDE = (PROJECT / "docs/operating.md").read_text()
[BELOW_A_PATH] = re.findall(r"^```nginx\n(location .* \{)\n```$", GUIDE, re.MULTILINE)
[UPSTREAM] = re.findall(r"^```nginx\n(upstream .*?)```$", GUIDE, re.MULTILINE | re.DOTALL)
[TO_THE_UPSTREAM] = re.findall(r"^```nginx\n(proxy_pass .*?)```$", GUIDE, re.MULTILINE | re.DOTALL)
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SITE = (PROJECT / "deploy/nginx.conf").read_text()
HOST = "login.example"


def needs(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.fixture
def certificate(tmp_path):
    needs("openssl")
    subject = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    key, chain = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-keyout",
            key,
            "-out",
            chain,
            *subject,
        ],
        check=True,
        capture_output=True,
    )
    return chain


def site_of_one_node(port):
    assert SITE.count("127.0.0.1:8000") == 1
    return SITE.replace("127.0.0.1:8000", f"127.0.0.1:{port}")


def site_of_two_nodes(ports):
    """deploy/nginx.conf with the changes of the guide, for nodes on these ports of this machine."""
    upstream = UPSTREAM
    for address, port in zip(re.findall(r"10\.[0-9.]+:8000", UPSTREAM), ports, strict=True):
        upstream = upstream.replace(address, f"127.0.0.1:{port}")
    site = SITE
    for line in TO_THE_UPSTREAM.splitlines():
        name, _blank, _value = line.partition(" ")
        site, replaced = re.subn(rf"^( *){name} .*$", rf"\1{line}", site, flags=re.MULTILINE)
        site = (
            site
            if replaced
            else re.sub(r"^( *)proxy_pass ", rf"\1{line}\n\1proxy_pass ", site, flags=re.MULTILINE)
        )
    return upstream + site


class Proxy:
    """nginx with the site of deploy/nginx.conf; what is changed are addresses, ports and paths."""

    def __init__(self, folder, certificate, site, location="location / {"):
        self.port, plain_port = free_port(), free_port()
        self.context = ssl.create_default_context(cafile=certificate)
        for old, new in {
            "listen 80;": f"listen 127.0.0.1:{plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "    listen [::]:80;\n": "",
            "    listen [::]:443 ssl;\n": "",
            "/etc/ssl/login.example": str(certificate.parent),
            "location / {": location,
        }.items():
            assert site.count(old) >= 1, old
            site = site.replace(old, new)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""  # pytest's folders are closed to anybody else
        config.write_text(
            f"{user} daemon off; pid {folder}/nginx.pid;\nevents {{}}\nhttp {{\n{temporary}{site}}}\n"
        )
        self.command = ["nginx", "-e", str(folder / "nginx.log"), "-p", str(folder), "-c", str(config)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                self.ask("GET", "/healthz")
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("nginx did not start")

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait(10)

    def ask(self, method, path, body=None, headers=None):
        """The answer to a request that names the issuer's host; the connection goes to this machine."""
        connection = http.client.HTTPSConnection(HOST, self.port, context=self.context, timeout=10)
        connection._create_connection = lambda address, *rest: http.client.socket.create_connection(
            ("127.0.0.1", self.port), *rest
        )
        try:
            connection.request(method, path, body, {"Host": f"{HOST}:{self.port}"} | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()


def test_behind_the_proxy_of_the_guide(tmp_path, certificate):
    needs("nginx")
    server = LiveServer(f"sqlite:///{tmp_path / 'proxied.sqlite3'}", tmp_path, trusted_proxies="127.0.0.1")
    proxy = Proxy(tmp_path, certificate, site_of_one_node(server.port))
    server.environment["OSTIARY_ISSUER"] = server.issuer = f"https://{HOST}:{proxy.port}"
    try:
        server.start()
        robot = server.flask_json(
            "clients",
            "add",
            "Robot",
            "--grant-type",
            "client_credentials",
            "--auth-method",
            "client_secret_post",
        )
        with proxy:
            status, headers, body = proxy.ask("GET", "/.well-known/oauth-authorization-server")
            assert status == 200
            assert f'"issuer": "{server.issuer}"' in body or f'"issuer":"{server.issuer}"' in body
            assert "max-age" in headers["Strict-Transport-Security"]

            form = {"Content-Type": "application/x-www-form-urlencoded"}
            token = {name: robot[name] for name in ("client_id", "client_secret")} | {
                "grant_type": "client_credentials"
            }
            assert proxy.ask("POST", "/oauth/token", urlencode(token), form)[0] == 200

            status, headers, _body = proxy.ask("GET", "/login")
            assert status == 200
            assert any(cookie.startswith("__Host-ostiary") for cookie in headers.get_all("Set-Cookie"))

            unknown = {"client_id": "nobody", "unknown": "x" * 15_000}
            # read, and refused as a page
            assert proxy.ask("GET", f"/oauth/authorize?{urlencode(unknown)}")[0] == 400
            assert proxy.ask("GET", "/", headers={"Host": "evil.example"})[0] == 400
            assert proxy.ask("POST", "/oauth/token", "x" * 100_000, form)[0] == 413

            wrong = urlencode(token | {"client_secret": "wrong"})
            forged = {"X-Forwarded-For": "192.0.2.1"}
            statuses = [proxy.ask("POST", "/oauth/token", wrong, form | forged)[0] for _time in range(21)]
            assert statuses == [401] * 20 + [429]  # the proxy's word counts, not the client's
    finally:
        server.kill()


def send_bytes(port, context, request):
    """The status and the headers of the answer to these very bytes."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as line,
        context.wrap_socket(line, server_hostname=HOST) if context else nullcontext(line) as stream,
    ):
        stream.sendall(request)
        answer = http.client.HTTPResponse(stream)
        answer.begin()
        return answer.status, answer.headers


@pytest.mark.long
def test_the_longest_request_and_the_longest_answer(tmp_path, certificate):
    """Each byte of a `state` comes back as three characters, beside the longest redirect URI there can be."""
    needs("nginx")
    server = LiveServer(f"sqlite:///{tmp_path / 'proxied.sqlite3'}", tmp_path, trusted_proxies="127.0.0.1")
    too_small = "\n".join(line for line in SITE.splitlines() if "proxy_bu" not in line) + "\n"
    folders = [tmp_path / name for name in ("whole", "small")]
    for folder in folders:
        folder.mkdir()
    sites = [site.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}") for site in (SITE, too_small)]
    proxy, small = (Proxy(folder, certificate, site) for folder, site in zip(folders, sites, strict=True))
    server.environment["OSTIARY_ISSUER"] = server.issuer = f"https://{HOST}:{proxy.port}"
    uri = "https://client.example/".ljust(redirect_uris.MAXIMUM_LENGTH, "x")
    try:
        server.start()
        client = server.flask_json("clients", "add", "Web", "--redirect-uri", uri)

        def longest():
            """Two octets of a letter are three characters of base64 on the way in, and six on the way out."""
            start = f"GET /oauth/authorize?response_type=none&client_id={client['client_id']}&request="
            room = (
                16 * 1024 - len(f"{start} HTTP/1.1") - len(jose.segment({"alg": "ES256"})) - len("..AAAA&x=")
            )
            letters = (room * 3 // 4 - len('{"state":""}')) // 2
            claims = json.dumps({"state": "é" * letters}, ensure_ascii=False, separators=(",", ":"))
            line = f"{start}{jose.segment({'alg': 'ES256'})}.{jose.segment(claims)}.AAAA&x="
            line += "x" * (16 * 1024 - len(f"{line} HTTP/1.1"))
            cookies = [f"Cookie: c{number}={'c' * 8_000}" for number in range(3)]  # a field may have 16 KiB
            head = [f"{line} HTTP/1.1", f"Host: {HOST}:{proxy.port}", "Connection: close", *cookies]
            return "\r\n".join([*head, "", ""]).encode(), letters

        request, letters = longest()
        with proxy:
            status, headers = send_bytes(proxy.port, proxy.context, request)
            assert status == 303
            location = headers["Location"]
            assert location.startswith(uri) and len(location) > 36_000
            assert dict(parse_qsl(urlsplit(location).query))["state"] == "é" * letters
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            body = "grant_type=none&x=".ljust(64 * 1024, "x")
            assert proxy.ask("POST", "/oauth/token", body, form)[0] in (400, 401)
            assert proxy.ask("POST", "/oauth/token", body + "x", form)[0] == 413
        with small:
            assert send_bytes(small.port, small.context, request)[0] == 502
    finally:
        server.kill()


@pytest.mark.long
def test_behind_the_proxy_below_a_path(tmp_path, certificate):
    """nginx gives Ostiary what is its own, and nothing else of the host."""
    needs("nginx")
    server = LiveServer(f"sqlite:///{tmp_path / 'proxied.sqlite3'}", tmp_path, trusted_proxies="127.0.0.1")
    proxy = Proxy(tmp_path, certificate, site_of_one_node(server.port), location=BELOW_A_PATH)
    server.environment["OSTIARY_ISSUER"] = server.issuer = f"https://{HOST}:{proxy.port}/auth"
    metadata = [f"/.well-known/{name}" for name in ("oauth-authorization-server", "openid-configuration")]
    try:
        server.start()
        with proxy:
            for address in ("/auth", "/auth/", "/auth/login", "/auth/static/ostiary.css", "/auth/healthz"):
                status, headers, _body = proxy.ask("GET", address)
                assert (status, "Request-Id" in headers) == (200, True), address
            for address in (*(f"{name}/auth" for name in metadata), *(f"/auth{name}" for name in metadata)):
                assert json.loads(proxy.ask("GET", address)[2])["issuer"] == server.issuer
            for address in (
                "/",
                "/login",
                "/authx",
                "/auth%2flogin",
                "/healthz",
                *metadata,
                f"{metadata[0]}/authx",
            ):
                status, headers, _body = proxy.ask("GET", address)
                assert status in (403, 404) and ("Request-Id" in headers) == (address == "/auth%2flogin"), (
                    address
                )
    finally:
        server.kill()


@pytest.mark.long
def test_two_nodes_behind_the_proxy(tmp_path, certificate, servers):
    """Requests go to both; when one is gone nobody is told, and when it is back it has its share again."""
    needs("nginx")
    url = new_database("postgresql", tmp_path, servers)
    nodes = [LiveServer(url, tmp_path / name, trusted_proxies="127.0.0.1") for name in ("one", "two")]
    proxy = Proxy(tmp_path, certificate, site_of_two_nodes([node.port for node in nodes]))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        for node in nodes:
            node.folder.mkdir()
            node.environment |= {
                "OSTIARY_ISSUER": f"https://{HOST}:{proxy.port}",
                "GUNICORN_CMD_ARGS": LOG_THE_PROCESS,
            }
            node.start()
        add = (
            "clients",
            "add",
            "Robot",
            "--grant-type",
            "client_credentials",
            "--auth-method",
            "client_secret_post",
        )
        robot = nodes[0].flask_json(*add)
        token = urlencode(
            {name: robot[name] for name in ("client_id", "client_secret")}
            | {"grant_type": "client_credentials"}
        )

        def ask_often():
            before = [node.log().count("process=") for node in nodes]
            assert {proxy.ask("POST", "/oauth/token", token, form)[0] for _time in range(20)} == {200}
            time.sleep(0.2)  # a line is written after its answer
            return [node.log().count("process=") - count for node, count in zip(nodes, before, strict=True)]

        with proxy:
            assert min(ask_often()) > 5
            nodes[0].kill()
            while nodes[0].is_ready():  # its workers may outlive it for a moment
                time.sleep(0.05)
            assert ask_often() == [0, 20]
            nodes[0].start()
            time.sleep(5)  # the guide's fail_timeout
            assert min(ask_often()) > 5
    finally:
        for node in nodes:
            node.kill()


@pytest.mark.long
def test_back_up_while_it_runs_and_restore(tmp_path):
    database, backup = tmp_path / "ostiary.sqlite3", tmp_path / "backup.sqlite3"
    back_up, restore = BLOCKS
    variables = {"DATABASE": str(database), "BACKUP": str(backup)}

    def run(block, server):
        subprocess.run(
            ["bash", "-euc", block], cwd=PROJECT, env=server.environment | variables, check=True, timeout=30
        )

    with live_server(f"sqlite:///{database}", tmp_path) as server:
        server.flask("users", "add", "ada@example.com", "--password-stdin", input="correct horse battery")
        run(back_up, server)
        server.flask("users", "add", "eve@example.com", "--password-stdin", input="correct horse battery")
        server.stop()
    run(restore, server)
    with live_server(f"sqlite:///{database}", tmp_path) as server:
        assert [user["email"] for user in server.flask_json("users", "list")] == ["ada@example.com"]
    assert database.stat().st_mode & 0o777 == 0o600


def test_the_units_are_some(tmp_path):
    """Their paths are this project's here, because systemd looks whether the commands are there."""
    needs("systemd-analyze")
    units = [tmp_path / name for name in ("ostiary.service", "ostiary.socket")]
    for unit in units:
        unit.write_text((PROJECT / "deploy" / unit.name).read_text().replace("/opt/ostiary", str(PROJECT)))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=30)
    assert [line for line in done.stderr.splitlines() if "ostiary." in line] == []


def test_every_command_of_the_guide_exists(app):
    """`flask users sign-out` and the like, as they are written in the text."""
    known = {
        f"{noun} {verb}"
        for noun, group in app.cli.commands.items()
        for verb in getattr(group, "commands", [])
    }
    named = set(re.findall(r"flask ((?:users|clients|tokens|config|db|scopes) [a-z-]+)", GUIDE))
    assert named and named <= known
