"""Whether a host on the network answers, and downloads that give up: in seconds, where libraries take minutes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

# What a gateway says when it did not get through to the host, or would not try.
NOT_THE_HOST = (407, 502, 504)
STALL = 20.0  # seconds without a byte, after which a download is given up


def status(url: str, seconds: float = 5.0) -> int | None:
    """What an HTTP server answers at ``url``, through the proxy of the environment where there is one.

    Redirects are not followed, and nothing is sent but one HEAD request.

    Args:
        url: an ``http://`` or ``https://`` address; anything else is not reachable.
        seconds: when to give up, look-up of the name included.

    Returns:
        the status, such as 200 or 404; None where there is no answer of the host itself.

    >>> status("file:///etc/hostname")
    """
    answers: list[int | None] = []
    # Neither a name look-up nor a server that answers byte by byte heeds a timeout; waiting for a thread does.
    thread = threading.Thread(target=lambda: answers.append(_status(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers and answers[0] not in NOT_THE_HOST else None


@contextlib.contextmanager
def download_timeouts() -> Iterator[None]:
    """Downloads within, by urllib or requests, fail when no byte has come for `STALL` seconds, and end with the block.

    The libraries that download for us wait for ever and take no time limit. Some do it in threads, which would hold up
    the end of the program: where the block is left by an exception, its connections are cut.
    """
    import socket

    import requests

    sessions: Any = requests.Session
    sockets: Any = socket.socket
    request, connect, time_limit = sessions.request, sockets.connect, socket.getdefaulttimeout()
    opened: list[int] = []

    def limited_request(session: Any, *args: Any, **options: Any) -> Any:
        return request(session, *args, **{"timeout": STALL, **options})

    def noted_connect(connection: socket.socket, address: Any) -> None:
        opened.append(connection.fileno())
        connect(connection, address)

    sessions.request, sockets.connect = limited_request, noted_connect
    socket.setdefaulttimeout(STALL)
    try:
        yield
    except BaseException:
        for descriptor in opened:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
                connection.shutdown(socket.SHUT_RDWR)
        raise
    finally:
        sessions.request, sockets.connect = request, connect
        socket.setdefaulttimeout(time_limit)


def reason(error: BaseException) -> str:
    """Why a download or what was made of it failed, in one line; libraries give tuples, paths and advice to developers.

    >>> reason(TimeoutError("The read operation timed out"))
    'no byte came for 20 seconds'
    """
    names, text = {kind.__name__ for kind in type(error).__mro__}, str(error)
    if names & {"TimeoutError", "Timeout"} or "timed out" in text:
        return f"no byte came for {STALL:.0f} seconds"
    if names & {"ChunkedEncodingError", "IncompleteRead", "ConnectionResetError"} or "retrieval incomplete" in text:
        return "the connection broke off"
    if "NonMatchingChecksumError" in names or "hash does not match" in text:
        return "what came has not the published checksum, so it is not used"
    return " ".join(text.split())[:200] or type(error).__name__


def _status(url: str, seconds: float) -> int | None:
    # Here, not above: it takes 50 ms, and most commands need no network.
    import http.client
    import urllib.error
    import urllib.request

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(urllib.request.Request(url, method="HEAD"), timeout=seconds) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as answer:
        answer.close()
        return answer.code
    except (OSError, ValueError, http.client.HTTPException):
        return None
