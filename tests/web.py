"""A client's web server for tests: on a loopback port, answering byte for byte what it is told, and
remembering who asked.

`WebServer(answer)`: bytes, or a function that gets the connection and may do with it what it likes. With
`tls` it has a certificate for the name in it, by an authority whose file is `tls.authority`.
"""

import contextlib
import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE_SECONDS = 20


def http_answer(body=b"{}", status="200 OK", content_type="application/json", **headers):
    """An answer's bytes. Headers by keyword, `_` for `-`; None leaves one out."""
    fields = {"Content-Type": content_type, "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode() + body


def json_answer(document, **headers):
    return http_answer(json.dumps(document).encode(), **headers)


class WebServer:
    """`with WebServer(answer) as server:` has `url`, `requests` (their bytes) and `answer`, which may be
    changed meanwhile.
    """

    def __init__(self, answer=b"", tls=None, host="127.0.0.1"):
        self.answer = answer
        self.requests = []
        self.names = []  # that the clients asked for (SNI)
        self._tls = tls.server_context(self.names) if tls else None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family)
        self._listener.bind((host, 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        self.netloc = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.netloc}/jwks?a=b"
        self._over = threading.Event()
        self._threads = []

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *failure):
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    def pause(self, seconds):
        """Wait so long, or until the test is over. Returns whether to go on."""
        return not self._over.wait(seconds)

    def _start(self, run, *arguments):
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            self._start(self._talk, connection)

    def _talk(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(PATIENCE_SECONDS)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self.requests.append(read_request(connection))
                if callable(self.answer):
                    self.answer(connection)
                else:
                    connection.sendall(self.answer)


def read_request(connection):
    """Head and body of one request."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65_536)
        if not more:
            return received
        received += more
    head, _blank, body = received.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


class Tls:
    """A certificate authority of our own, and a certificate of its for one name."""

    def __init__(self, folder, name):
        key = ec.generate_private_key(ec.SECP256R1())
        authority = certificate("Test authority", key, "Test authority", key, authority=True)
        server_key = ec.generate_private_key(ec.SECP256R1())
        mine = certificate(name, server_key, "Test authority", key)
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        self._chain = folder / "server.pem"
        self._chain.write_bytes(
            mine.public_bytes(serialization.Encoding.PEM)
            + server_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def server_context(self, names):
        """names: a list that takes the names that clients ask for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        context.sni_callback = lambda connection, name, context: names.append(name)
        return context


def certificate(name, key, issuer, issuer_key, authority=False):
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
