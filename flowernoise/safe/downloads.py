"""Tells whether a host answers, and makes downloads give up after seconds where libraries take minutes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

# What a gateway answers when it did not reach the host, or would not try.
NOT_THE_HOST = (407, 502, 504)
STALL = 20.0  # seconds without a byte, after which a download is given up


def status(url: str, seconds: float = 5.0) -> int | None:
    """The status that an HTTP server answers at ``url``, through the environment's proxy if it has one.

    Sends a single HEAD request and follows no redirects.

    Args:
        url: an ``http://`` or ``https://`` address; anything else is not reachable.
        seconds: when to give up, including the time to look up the name.

    Returns:
        the status, such as 200 or 404; None if the host itself did not answer.

    >>> status("file:///etc/hostname")
    """
    answers: list[int | None] = []
    # A timeout covers neither the name look-up nor a server that answers byte by byte; waiting for a thread does.
    thread = threading.Thread(target=lambda: answers.append(_status(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers and answers[0] not in NOT_THE_HOST else None


@contextlib.contextmanager
def download_timeouts() -> Iterator[None]:
    """Makes downloads by urllib or requests in the block fail after `STALL` seconds without a byte.

    The libraries that download for us wait for ever and accept no time limit. Some download in threads, which would
    keep the program from ending: if an exception leaves the block, its connections are cut.
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
    """Why a download failed, in one line; libraries' own messages hold tuples, paths and advice to developers.

    >>> reason(TimeoutError("The read operation timed out"))
    'no byte came for 20 seconds'
    """
    names, text = {kind.__name__ for kind in type(error).__mro__}, str(error)
    if names & {"TimeoutError", "Timeout"} or "timed out" in text:
        return f"no byte came for {STALL:.0f} seconds"
    if names & {"ChunkedEncodingError", "IncompleteRead", "ConnectionResetError"} or "retrieval incomplete" in text:
        return "the connection broke off"
    if "NonMatchingChecksumError" in names or "hash does not match" in text:
        return "its checksum is not the published one, so it is not used"
    return " ".join(text.split())[:200] or type(error).__name__


def _status(url: str, seconds: float) -> int | None:
    # Imported here: it takes 50 ms, and most commands do not use the network.
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
