"""Whether a host on the network answers, found out in seconds instead of a library's minutes of retries."""

from __future__ import annotations

import threading

# What a gateway says when it did not get through to the host, or would not try.
NOT_THE_HOST = (407, 502, 504)


def reachable(url: str, seconds: float = 5.0) -> bool:
    """Whether an HTTP server answers at ``url``, through the proxy of the environment where there is one.

    Any answer of the server counts, "not found" and "forbidden" too: it shows that a download can be tried. Redirects
    are not followed, and nothing is sent but one HEAD request.

    Args:
        url: an ``http://`` or ``https://`` address; anything else is not reachable.
        seconds: when to give up, look-up of the name included.

    >>> reachable("file:///etc/hostname")
    False
    """
    answers: list[bool] = []
    # Neither a name look-up nor a server that answers byte by byte heeds a timeout; waiting for a thread does.
    thread = threading.Thread(target=lambda: answers.append(_answers(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return any(answers)


def _answers(url: str, seconds: float) -> bool:
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
        opener.open(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        return answer.code not in NOT_THE_HOST
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True
