"""The one guarded way out, against real servers on loopback: which addresses are called, what of an answer
counts, what is kept.
"""

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from config import Settings
from errors import FetchBusyError, FetchError
from outbound import document_cache, http_client
from outbound.document_cache import DocumentCache
from outbound.http_client import Fetched, HttpClient
from tests.builders import ISSUER, SECRET_KEY
from tests.web import Tls, WebServer, http_answer, json_answer

PRODUCTION = Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY)
DEVELOPMENT = Settings(
    issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, allow_private_addresses=True
)
KEYS = {"keys": [{"kty": "EC"}]}
PUBLIC = "93.184.216.34"


class Resolver:
    """A name server of our own: gives these addresses, one list for each question, and remembers the
    questions.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, host, port):
        self.asked.append(host)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        return answer() if callable(answer) else answer


def no_such_name():
    raise OSError("Name or service not known")


@pytest.fixture
def server(integration):
    with WebServer(json_answer(KEYS)) as server:
        yield server


@pytest.fixture
def fetcher():
    return HttpClient(DEVELOPMENT)


def refusal(call, *arguments):
    """The words of the FetchError that this call must end with."""
    with pytest.raises(FetchError) as caught:
        call(*arguments)
    return str(caught.value)


# ---- which addresses ---------------------------------------------------------------------------------------

PRIVATE = """
    127.0.0.1 127.1.2.3 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 192.0.0.1
    198.18.0.1 192.0.2.1 192.0.0.192 224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255 ::1 :: fc00::1 fd12::1
    fe80::1 fec0::1 ff02::1 ff0e::1 2001:db8::1 2001::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
    64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1::1 100::1 4000::1 fe80::1%eth0
""".split()


@pytest.mark.threat("T152")
@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_inside_is_not_called(server, address):
    resolver = Resolver([address])
    words = refusal(HttpClient(PRODUCTION, resolver).get, f"https://client.example:{server.port}/jwks")
    assert words in (
        "its host has an address that is not public",
        "its host has an address that cannot be called",
    )
    assert (resolver.asked, server.requests) == (["client.example"], [])


@pytest.mark.threat("T152")
@pytest.mark.parametrize("addresses", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], ["2606:4700::1", "::1"]])
def test_one_address_inside_is_one_too_many(server, addresses):
    url = f"https://client.example:{server.port}/jwks"
    assert "not public" in refusal(HttpClient(PRODUCTION, Resolver(addresses)).get, url)
    assert server.requests == []


@pytest.mark.parametrize(
    "address", [PUBLIC, "8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses_may_be_called(address):
    http_client.blocked_urls.check_addresses([address], allow_private=False)


@pytest.mark.parametrize("address", "224.0.0.1 ff02::1 0.0.0.0 :: fe80::1%eth0".split())
def test_nobody_is_called_at_an_address_of_many_or_none(server, address):
    """In development too, where 127.0.0.1 is."""
    url = f"http://client.example:{server.port}/jwks"
    assert "that cannot be called" in refusal(HttpClient(DEVELOPMENT, Resolver([address])).get, url)


@pytest.mark.threat("T152")
@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/jwks",
        "HTTP://client.example/jwks",
        "file:///etc/passwd",
        "ftp://client.example/jwks",
        "gopher://client.example/",
        "//client.example/jwks",
        "client.example",
        "https:///jwks",
        "https://",
        "",
        "https://user@client.example/",
        "https://user:secret@client.example/",
        "https://@client.example/",
        "https://client.example/#fragment",
        "https://client.example/ blank",
        "https://client.example/\nline",
        "https://client.example\\@127.0.0.1/",
        "https://cli%65nt.example/",
        "https://bücher.example/",
        "https://client.example./",
        "https://client..example/",
        "https://-client.example/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        "https://client.example:0/",
        "https://client.example:22/",
        "https://client.example:80/",
        "https://client.example:1023/",
        "https://client.example:65536/",
        "https://client.example:x/",
        "https://[::1/",
        "https://[v1.x]/",
        "https://[fe80::1%25eth0]/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://0X7F.0.0.1/",
        "https://0177.0.0.1/",
        "https://2130706433/",
        "https://127.1/",
        "https://127.0.0.1/",
        "https://127.0.0.1:8443/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://client.example/" + "x" * 2_000,
    ],
)
def test_an_address_that_is_not_even_resolved(url):
    resolver = Resolver([PUBLIC])
    words = refusal(HttpClient(PRODUCTION, resolver).get, url)
    assert resolver.asked == []
    assert not url or url not in words


@pytest.mark.parametrize(
    "url", ["http://0x7f.1:{}/", "http://2130706433:{}/", "http://0177.0.0.1:{}/", "http://127.1:{}/"]
)
def test_odd_spellings_are_refused_in_development_too(server, fetcher, url):
    assert "usual spelling" in refusal(fetcher.get, url.format(server.port))
    assert server.requests == []


@pytest.mark.parametrize("port", ["", ":443", ":1024", ":8443", ":65535"])
def test_ports_of_production(monkeypatch, port):
    """The name is looked up: the address is fit for use."""
    resolver = Resolver(["127.0.0.1"])
    assert "not public" in refusal(HttpClient(PRODUCTION, resolver).get, f"https://client.example{port}/jwks")
    assert resolver.asked == ["client.example"]


@pytest.mark.threat("T152")
def test_a_name_is_resolved_once_and_its_answer_is_what_is_called(server):
    """Otherwise a name server could give a public address to the check and an internal one to the
    connection.
    """
    resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])
    url = f"http://rebinding.example:{server.port}/jwks"
    assert HttpClient(DEVELOPMENT, resolver).get(url) == b'{"keys": [{"kty": "EC"}]}'
    assert resolver.asked == ["rebinding.example"]
    assert f"Host: rebinding.example:{server.port}\r\n".encode() in server.requests[0]


def test_the_next_address_is_tried_where_the_first_does_not_answer(server):
    resolver = Resolver(["::1", "127.0.0.1"])
    assert HttpClient(DEVELOPMENT, resolver).get(f"http://client.example:{server.port}/jwks")


@pytest.mark.parametrize("answer", [no_such_name, []])
def test_a_name_that_there_is_not(answer):
    assert (
        refusal(HttpClient(PRODUCTION, Resolver(answer)).get, "https://client.example/")
        == "its host has no address"
    )


def test_the_systems_own_resolver(server, fetcher):
    """Whatever `localhost` is here: one of its addresses answers."""
    assert fetcher.get(f"http://localhost:{server.port}/jwks")


@pytest.mark.integration
def test_addresses_of_version_six():
    with WebServer(json_answer(KEYS), host="::1") as server:
        assert HttpClient(DEVELOPMENT).get(server.url)
        assert f"Host: [::1]:{server.port}\r\n".encode() in server.requests[0]


# ---- what is sent ------------------------------------------------------------------------------------------


def test_what_a_request_looks_like(server, fetcher):
    fetcher.get(server.url)
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /jwks?a=b HTTP/1.1"
    assert f"Host: {server.netloc}" in lines
    assert "Accept-Encoding: identity" in lines
    assert not [line for line in lines if line.lower().startswith(("cookie", "authorization"))]


@pytest.mark.threat("T152")
def test_proxies_of_the_environment_are_not_asked(server, fetcher, monkeypatch):
    with WebServer(json_answer({"from": "proxy"})) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.netloc}")
        assert fetcher.get(server.url) == b'{"keys": [{"kty": "EC"}]}'
        assert proxy.requests == []


@pytest.mark.integration
def test_a_form_is_posted_and_only_the_status_counts(fetcher):
    with WebServer(http_answer(b"x" * 5_000_000, "204 No Content", content_type=None)) as server:
        assert fetcher.post(server.url, {"logout_token": "a.b.c", "more": "é &"}) == 204
        head, _blank, body = server.requests[0].partition(b"\r\n\r\n")
        assert body == b"logout_token=a.b.c&more=%C3%A9+%26"
        assert b"Content-Type: application/x-www-form-urlencoded" in head


@pytest.mark.integration
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "400 Bad Request", "503 Service Unavailable"])
def test_every_status_of_a_post_is_told(fetcher, status):
    with WebServer(http_answer(b"", status, Location="/elsewhere")) as server:
        assert fetcher.post(server.url, {}) == int(status[:3])
        assert len(server.requests) == 1


def test_a_post_goes_nowhere_inside_either(server):
    assert "not public" in refusal(
        HttpClient(PRODUCTION, Resolver(["10.0.0.1"])).post, "https://client.example/logout", {"a": "b"}
    )


# ---- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return Tls(tmp_path_factory.mktemp("tls"), "client.example")


@pytest.fixture
def tls_server(tls):
    with WebServer(json_answer(KEYS), tls) as server:
        yield server


@pytest.mark.integration
@pytest.mark.threat("T152")
def test_the_certificate_is_that_of_the_name(tls, tls_server, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    fetcher = HttpClient(DEVELOPMENT, Resolver(["127.0.0.1"]))
    assert fetcher.get(f"https://client.example:{tls_server.port}/jwks")
    assert tls_server.names == ["client.example"]
    assert f"Host: client.example:{tls_server.port}\r\n".encode() in tls_server.requests[0]
    words = "there is no trusted TLS connection to it"
    assert refusal(fetcher.get, f"https://other.example:{tls_server.port}/jwks") == words
    assert refusal(fetcher.get, f"https://127.0.0.1:{tls_server.port}/jwks") == words
    assert len(tls_server.requests) == 1


@pytest.mark.integration
@pytest.mark.threat("T152")
def test_an_authority_that_nobody_knows(tls_server):
    fetcher = HttpClient(DEVELOPMENT, Resolver(["127.0.0.1"]))
    assert "TLS" in refusal(fetcher.get, f"https://client.example:{tls_server.port}/jwks")
    assert tls_server.requests == []


# ---- what is taken of an answer ----------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/jwk-set+json",
        "Application/JSON; charset=utf-8",
        "application/geo+json",
    ],
)
def test_types_that_are_json(fetcher, content_type):
    with WebServer(json_answer(KEYS, content_type=content_type)) as server:
        assert fetcher.get(server.url)


@pytest.mark.integration
@pytest.mark.threat("T063", "T152")
@pytest.mark.parametrize(
    "content_type",
    ["text/html", "text/json", "application/jsonp", "application/xml", "", None, "json", "x+json"],
)
def test_types_that_are_not(fetcher, content_type):
    with WebServer(json_answer(KEYS, content_type=content_type)) as server:
        assert refusal(fetcher.get, server.url) == "the answer is not of a JSON type"


@pytest.mark.threat("T152")
@pytest.mark.parametrize(
    "status",
    ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    + ["201 Created", "204 No Content", "304 Not Modified", "401 Unauthorized", "404 Not Found", "500 Error"],
)
def test_nothing_but_200_is_an_answer(fetcher, server, status):
    with WebServer(http_answer(status=status, Location=server.url)) as first:
        assert refusal(fetcher.get, first.url) == "it was not answered 200"
    assert server.requests == []


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_THE_END = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


@pytest.mark.integration
@pytest.mark.parametrize("answer", [CHUNKED + b'4\r\n"ab"\r\n0\r\n\r\n', UNTIL_THE_END + b'"ab"'])
def test_other_ways_to_say_where_an_answer_ends(fetcher, answer):
    with WebServer(answer) as server:
        assert fetcher.get(server.url) == b'"ab"'


@pytest.mark.integration
def test_a_mebibyte_is_not_too_much(fetcher):
    with WebServer(http_answer(b" " * http_client.MAXIMUM_SIZE)) as server:
        assert len(fetcher.get(server.url)) == http_client.MAXIMUM_SIZE


def pour_after(head, content=b"x" * 65_536):
    """An answer that never ends by itself."""

    def answer(connection):
        connection.sendall(head)
        while True:
            connection.sendall(content)

    return answer


@pytest.mark.integration
@pytest.mark.threat("T063", "T152")
@pytest.mark.parametrize(
    "answer",
    [
        http_answer(b" " * (http_client.MAXIMUM_SIZE + 1)),
        http_answer(Content_Length="10000000"),
        http_answer(Content_Length="9" * 30),
        pour_after(UNTIL_THE_END),
        pour_after(CHUNKED + b"ffffff\r\n"),
        pour_after(b"HTTP/1.1 200 OK\r\nX: "),
        pour_after(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        pour_after(CHUNKED, b"1;" + b"x" * 1_000 + b"\r\n \r\n"),
    ],
)
def test_more_than_that_is(fetcher, answer):
    started = time.monotonic()
    with WebServer(answer) as server:
        assert refusal(fetcher.get, server.url) in ("the answer is too large", "the connection failed")
    assert time.monotonic() - started < http_client.SECONDS


@pytest.mark.integration
@pytest.mark.threat("T152")
def test_what_is_compressed_is_not_unpacked(fetcher):
    bomb = gzip.compress(b" " * 100_000_000)
    with WebServer(http_answer(bomb, Content_Encoding="gzip")) as server:
        assert refusal(fetcher.get, server.url) == "the answer is compressed"


@pytest.mark.integration
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\x00",
        b"HTTP/1.1",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 999999 ?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1_000 + b"\r\n",
        http_answer(b"{", Content_Length="100"),
        CHUNKED + b"zz\r\n",
        CHUNKED + b"8\r\nab",
    ],
)
def test_what_is_no_proper_http(fetcher, answer):
    with WebServer(answer) as server:
        assert refusal(fetcher.get, server.url) in ("the connection failed", "the answer ended early")


@pytest.mark.integration
def test_nobody_listens(fetcher):
    with WebServer() as server:
        url = server.url
    assert refusal(fetcher.get, url) == "the connection failed"


# ---- the time limit ----------------------------------------------------------------------------------------


WITHOUT_A_LIMIT = 10  # seconds that each of these would take at least


@pytest.fixture
def hasty(monkeypatch):
    """A shorter limit, so that the test is."""
    monkeypatch.setattr(http_client, "SECONDS", 0.6)


def drip(content, server):
    """A byte at a time: each comes in time, all of them never do."""

    def answer(connection):
        for octet in content * 1_000:
            connection.sendall(bytes([octet]))
            if not server.pause(0.1):
                return

    return answer


def says_nothing(server):
    return lambda connection: server.pause(WITHOUT_A_LIMIT)


@pytest.mark.integration
@pytest.mark.threat("T063", "T152")
@pytest.mark.parametrize(
    "slowness",
    [
        says_nothing,
        lambda server: drip(b"HTTP/1.1 200 OK\r\n", server),
        lambda server: lambda connection: (connection.sendall(UNTIL_THE_END), drip(b" ", server)(connection)),
        lambda server: (
            lambda connection: (connection.sendall(CHUNKED), drip(b"1\r\n \r\n", server)(connection))
        ),
    ],
    ids=["says nothing", "head", "body", "chunks"],
)
def test_a_slow_answer_is_given_up_in_time(fetcher, hasty, slowness):
    with WebServer() as server:
        server.answer = slowness(server)
        started = time.monotonic()
        assert refusal(fetcher.get, server.url) == "it took too long"
        assert 0.5 < time.monotonic() - started < WITHOUT_A_LIMIT / 2


@pytest.mark.threat("T152")
def test_a_slow_name_server_too(hasty):
    over = threading.Event()
    started = time.monotonic()
    fetcher = HttpClient(DEVELOPMENT, Resolver(lambda: over.wait(WITHOUT_A_LIMIT) and []))
    assert refusal(fetcher.get, "https://client.example/jwks") == "it took too long"
    assert 0.5 < time.monotonic() - started < WITHOUT_A_LIMIT / 2
    over.set()


@pytest.mark.integration
@pytest.mark.threat("T152")
def test_a_slow_handshake_too(hasty, fetcher):
    """We say hello, to a server without TLS, which takes that for a request that has not ended."""
    with WebServer() as server:
        started = time.monotonic()
        assert refusal(fetcher.get, f"https://{server.netloc}/jwks") == "it took too long"
        assert 0.5 < time.monotonic() - started < WITHOUT_A_LIMIT / 2


# ---- documents ---------------------------------------------------------------------------------------------

URL = "https://client.example/jwks"
MANY = 100  # may wait at once


class Publisher:
    """What stands in for the fetcher: answers in order, the last one again and again, and counts."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.count = 0

    def fetch(self, url):
        answer = self.answers[min(self.count, len(self.answers) - 1)]
        self.count += 1
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Fetched) else Fetched(answer, None)


@pytest.fixture
def later(monkeypatch):
    """The monotonic clock stands still, but for the seconds that a test lets pass."""
    started, passed = time.monotonic(), [0]
    monkeypatch.setattr(http_client.time, "monotonic", lambda: started + passed[0])

    def later(seconds):
        passed[0] += seconds

    return later


def test_a_document_is_kept_for_ten_minutes(later):
    publisher = Publisher(b'{"a": 1}', b'{"a": 2}')
    documents = DocumentCache(publisher, MANY)
    first = documents.get(URL)
    later(599)
    assert documents.get(URL) == first
    assert first.content == {"a": 1}
    later(1)
    second = documents.get(URL)
    assert (second.content, publisher.count) == ({"a": 2}, 2)
    assert second.digest != first.digest


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("", 600),
        ("max-age=300", 300),
        ("public, Max-Age=300, must-revalidate", 300),
        ('max-age="300"', 300),
        ("max-age=0", 60),
        ("max-age=5", 60),
        ("max-age=999999999999", 3600),
        ("max-age=-1", 600),
        ("max-age=x", 600),
        ("max-age=²", 600),
        ("no-store", 60),
        ("max-age=300, no-cache", 60),
    ],
)
def test_how_long_it_is_kept_is_said_by_the_answer_within_bounds(later, cache_control, seconds):
    publisher = Publisher(Fetched(b"{}", http_client.max_age(cache_control)))
    documents = DocumentCache(publisher, MANY)
    documents.get(URL)
    later(seconds - 1)
    documents.get(URL)
    assert publisher.count == 1
    later(1)
    documents.get(URL)
    assert publisher.count == 2


@pytest.mark.integration
def test_the_header_of_a_real_answer_counts(fetcher, later):
    with WebServer(json_answer(KEYS, Cache_Control="max-age=120")) as server:
        assert fetcher.fetch(server.url).max_age == 120


@pytest.mark.threat("T063")
def test_a_failure_is_kept_for_a_minute(later):
    publisher = Publisher(FetchError("the connection failed"), b"{}")
    documents = DocumentCache(publisher, MANY)
    assert refusal(documents.get, URL) == "the connection failed"
    later(59)
    assert refusal(documents.get, URL) == "the connection failed"
    assert refusal(documents.refresh, URL) == "the connection failed"
    assert publisher.count == 1
    later(1)
    assert documents.get(URL).content == {}


@pytest.mark.parametrize("content", [b"", b"no", b"\xff", b"[" * 100_000, b"{'a': 1}"])
def test_what_is_no_json_is_a_failure_too(content):
    assert refusal(DocumentCache(Publisher(content), MANY).get, URL) == "the answer is no JSON"


def test_who_misses_a_key_may_ask_again_once_a_minute(later):
    publisher = Publisher(b"1", b"2", b"3")
    documents = DocumentCache(publisher, MANY)
    assert documents.get(URL).content == 1
    assert documents.refresh(URL).content == 1
    later(60)
    assert [documents.refresh(URL).content for _time in range(3)] == [2, 2, 2]
    assert documents.get(URL).content == 2
    later(60)
    assert documents.refresh(URL).content == 3


def test_a_refresh_that_fails_takes_nothing_away(later):
    publisher = Publisher(b"1", FetchError("the connection failed"))
    documents = DocumentCache(publisher, MANY)
    documents.get(URL)
    later(300)
    assert documents.refresh(URL).content == 1
    assert documents.refresh(URL).content == 1
    assert publisher.count == 2
    later(300)
    assert refusal(documents.get, URL) == "the connection failed"


def test_the_oldest_of_many_go(later):
    publisher = Publisher(b"{}")
    documents = DocumentCache(publisher, MANY)
    for number in range(document_cache.MAXIMUM_DOCUMENTS + 1):
        documents.get(f"{URL}/{number}")
        documents.get(f"{URL}/0")
    assert publisher.count == document_cache.MAXIMUM_DOCUMENTS + 1
    documents.get(f"{URL}/0")
    documents.get(f"{URL}/1")
    assert publisher.count == document_cache.MAXIMUM_DOCUMENTS + 2


class SlowPublisher(Publisher):
    def __init__(self, *answers):
        super().__init__(*answers)
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def fetch(self, url):
        self.asked.set()
        assert self.may_answer.wait(10)
        return super().fetch(url)


@pytest.mark.threat("T063")
@pytest.mark.parametrize("answer", [b"{}", FetchError("the connection failed")])
def test_many_who_want_the_same_ask_once(answer):
    publisher = SlowPublisher(answer)
    documents = DocumentCache(publisher, MANY)

    def ask(_number):
        try:
            return documents.get(URL).content
        except FetchError as error:
            return str(error)

    with ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(ask, number) for number in range(16)]
        assert publisher.asked.wait(10)
        time.sleep(0.2)
        publisher.may_answer.set()
        answers = [asked.result() for asked in asking]
    assert answers == [{} if answer == b"{}" else "the connection failed"] * 16
    assert publisher.count == 1


@pytest.mark.threat("T063")
def test_nobody_waits_long_for_what_somebody_else_has_asked_for(monkeypatch):
    """Nor does it hold up who wants something else."""
    monkeypatch.setattr(document_cache, "WAITING_SECONDS", 0.2)
    publisher = SlowPublisher(b"{}")
    documents = DocumentCache(publisher, MANY)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(documents.get, URL)
        assert publisher.asked.wait(10)
        started = time.monotonic()
        assert refusal(documents.get, URL) == "others wait for it already"
        assert time.monotonic() - started < 1
        publisher.may_answer.set()
        assert first.result().content == {}
    assert documents.get(URL).content == {}
    assert publisher.count == 1


@pytest.mark.threat("T063")
def test_few_wait_for_the_network_whatever_the_host(later):
    """A thread that waits serves nobody: beyond a number of them nobody waits, neither for a host nor for
    another's question.
    """
    publisher = SlowPublisher(b"{}")
    publisher.may_answer.set()
    documents = DocumentCache(publisher, 2)
    known = f"{URL}/known"
    documents.get(known)
    publisher.may_answer.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(documents.get, f"{URL}/{number}") for number in range(2)]
        wait_until(lambda: not documents._free_slots)
        for url in (f"{URL}/0", f"{URL}/2"):
            for ask in (documents.get, documents.refresh, documents.get_cached):
                with pytest.raises(FetchBusyError):
                    ask(url)
        assert documents.get(known).content == documents.get_cached(known, recent=True).content == {}
        publisher.may_answer.set()
        assert [asked.result().content for asked in waiting] == [{}, {}]
    assert documents.get_cached(f"{URL}/2") is None
    assert documents.get(f"{URL}/2").content == {}
    assert publisher.count == 4


def wait_until(is_so):
    deadline = time.perf_counter() + 10
    while not is_so():
        assert time.perf_counter() < deadline
        time.sleep(0.01)


def test_a_failure_is_at_hand_too():
    documents = DocumentCache(Publisher(FetchError("the connection failed")), 1)
    assert documents.get_cached(URL) is None
    assert refusal(documents.get, URL) == refusal(documents.get_cached, URL) == "the connection failed"


def test_what_has_just_expired_will_do_while_a_newer_one_is_on_its_way(later):
    """Many who want the same document each ten minutes are not turned away; who needs a recent one does not
    get it.
    """
    publisher = SlowPublisher(b"1", b"2", b"3")
    publisher.may_answer.set()
    documents = DocumentCache(publisher, 1)
    assert documents.get(URL).content == 1
    later(document_cache.USUAL_SECONDS)
    publisher.may_answer.clear()
    with ThreadPoolExecutor(1) as pool:
        newer = pool.submit(documents.get, URL)
        wait_until(lambda: not documents._free_slots)
        assert documents.get(URL).content == documents.get_cached(URL).content == 1
        with pytest.raises(FetchBusyError):
            documents.refresh(URL)
        later(document_cache.STALE_SECONDS)
        with pytest.raises(FetchBusyError):
            documents.get_cached(URL)
        publisher.may_answer.set()
        assert newer.result().content == 2
    assert documents.get_cached(URL).content == 2
