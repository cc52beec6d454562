import contextlib
import http.server
import socket
import threading
import time
import urllib.request

import pytest

import flowernoise.safe.downloads
from flowernoise.safe.downloads import download_timeouts, status
from tests.timing import assert_in_time, may_be_late


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextlib.contextmanager
def serving(code, headers=()):
    """A server that gives one answer to all; yields its address and the requests it gets."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            requests.append((self.command, self.path))
            self.send_response(code)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", requests
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def listening(behaviour):
    """A socket whose one connection is given to ``behaviour``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def accept():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    behaviour(connection, stop)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            stop.set()
            thread.join()


def reachable(url, seconds=5.0):
    return status(url, seconds) is not None


def timed(url, seconds):
    start = time.monotonic()
    return reachable(url, seconds), time.monotonic() - start


@pytest.mark.parametrize("code", [200, 204, 400, 401, 403, 404, 405, 429, 500, 503])
def test_any_answer_of_the_host_counts(code):
    with serving(code) as (url, requests):
        assert status(url) == code
        assert requests == [("HEAD", "/")]


@pytest.mark.parametrize("code", [407, 502, 504])
def test_a_gateway_that_did_not_get_through_is_not_the_host(code):
    with serving(code) as (url, _):
        assert not reachable(url)


def test_redirects_count_and_are_not_followed():
    with serving(200) as (elsewhere, untouched), serving(302, [("Location", elsewhere)]) as (url, _):
        assert reachable(url)
        assert untouched == []


@may_be_late
def test_a_closed_port_is_known_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answer, seconds = timed(f"http://127.0.0.1:{port}/", 5)
    assert not answer
    assert_in_time(seconds, 1)


@may_be_late
def test_a_silent_host_is_given_up():
    with listening(lambda _, stop: stop.wait(10)) as url:
        answer, seconds = timed(url, 0.3)
    assert not answer
    assert seconds > 0.25
    assert_in_time(seconds, 1)


@may_be_late
def test_a_host_that_answers_byte_by_byte_is_given_up():
    def drip(connection, stop):
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100:
            if stop.wait(0.05):
                return
            connection.send(bytes([byte]))

    with listening(drip) as url:
        answer, seconds = timed(url, 0.3)
    assert not answer
    assert_in_time(seconds, 1)


@may_be_late
def test_a_stuck_name_lookup_is_given_up(monkeypatch):
    released = threading.Event()

    def stuck(*_, **__):
        released.wait(10)
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    answer, seconds = timed("http://flowers.invalid/", 0.3)
    released.set()
    assert not answer
    assert_in_time(seconds, 1)


def test_an_unknown_name_is_not_reachable(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not reachable("http://flowers.invalid/")


def test_nonsense_instead_of_http_is_not_reachable():
    with listening(lambda connection, _: connection.sendall(b"220 smtp ready\r\n\r\n")) as url:
        assert not reachable(url, 2)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/", "data:,x", "no address", "http://"])
def test_other_schemes_open_nothing(url):
    assert not reachable(url, 1)


def test_the_proxy_of_the_environment_is_asked(monkeypatch):
    with serving(200) as (proxy, requests):
        monkeypatch.setenv("http_proxy", proxy)
        assert reachable("http://flowers.invalid/photos")
        assert requests == [("HEAD", "http://flowers.invalid/photos")]


def test_a_proxy_that_refuses_to_tunnel_is_not_the_host(monkeypatch):
    with serving(403) as (proxy, _):
        monkeypatch.setenv("https_proxy", proxy)
        assert not reachable("https://flowers.invalid/")


@may_be_late
def test_downloads_by_urllib_and_requests_give_up_within_and_wait_again_afterwards(monkeypatch):
    requests = pytest.importorskip("requests")
    monkeypatch.setattr(flowernoise.safe.downloads, "STALL", 0.3)
    plain = requests.Session.request

    def half(connection, stop):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        stop.wait(10)

    for download in (lambda url: requests.get(url), lambda url: urllib.request.urlopen(url).read()):
        with listening(half) as url, download_timeouts():
            start = time.monotonic()
            with pytest.raises((OSError, requests.RequestException)):
                download(url)
            assert_in_time(time.monotonic() - start, 5)
    assert requests.Session.request is plain
    assert socket.getdefaulttimeout() is None
