"""An HTTP server on loopback that serves one file, well or badly."""

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator


class Server:
    """Answers every request with ``content``, in the manner of ``kind``, which may be changed at any time."""

    def __init__(self, url: str, content: bytes, stop: threading.Event) -> None:
        self.url, self.content, self.kind, self.stop = url, content, "good", stop
        self.requests: list[str] = []
        self.halfway = threading.Event()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Sends what the kind says."""
        self.requests.append(f"{request.command} {request.path}")
        if self.kind == "silent":
            self.stop.wait(60)
            return
        if self.kind == "fails later" and request.command == "GET":
            request.send_error(500)
            return
        if self.kind.isdigit():
            request.send_error(int(self.kind))
            return
        if self.kind == "redirects":
            request.send_response(302)
            request.send_header("Location", request.path + "x")
            request.end_headers()
            return
        content = self.content
        if self.kind == "wrong bytes":
            content = content[:-9] + bytes(9)
        request.send_response(200)
        if self.kind != "shorter":
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "HEAD":
            return
        half = len(content) // 2
        if self.kind == "slow start":
            self.stop.wait(60)
        request.wfile.write(content[:half])
        request.wfile.flush()
        self.halfway.set()
        if self.kind == "stalls":
            self.stop.wait(60)
        if self.kind not in ("stalls", "breaks off", "shorter"):
            request.wfile.write(content[half:])


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """The server, until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            with contextlib.suppress(OSError):
                server.answer(self)

        do_GET = do_HEAD = handle_any  # noqa: N815 (named so by the library)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        server = Server(f"http://127.0.0.1:{listener.server_port}/", content, threading.Event())
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stop.set()
            time.sleep(0.01)
            listener.shutdown()
            thread.join()
