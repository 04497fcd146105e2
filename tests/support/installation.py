"""A new installation, and a server that says what a test has it say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.initialise import initialise

__all__ = ["installed", "said_by"]


def installed(folder: Path, more: str = "", *, uri: str = "http://127.0.0.1:1") -> Settings:
    """Settings and keys, as `deepsigns init` makes them.

    Args:
        folder: A new one.
        more: Sections of TOML.
        uri: Of the server.
    """
    return load_settings(initialise(folder, owner="A", tracking_uri=uri, sections=more))


@contextmanager
def said_by(
    pages: Mapping[str, str], *, status: int = 200, date: str | None = None
) -> Iterator[str]:
    """A server with these pages, on a free port; its address.

    Args:
        pages: Path -> text.
        status: Of every answer.
        date: What it says in its header; by default the time.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(timestamp) if date is None else date

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
