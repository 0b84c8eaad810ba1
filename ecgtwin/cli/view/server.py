"""The page over HTTP on 127.0.0.1, by the standard library: small enough to read, and nothing to fetch from anywhere.

Other computers cannot reach it (loopback), nor can other web sites in the same browser: requests under another host
name or from another origin are refused, and the page may load nothing but itself.
"""

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from .work import Desk, uploaded

PAGE = Path(__file__).with_name("page.html")
MOST = 64 * 1024 * 1024
"""Bytes of one upload."""
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "pdf": "application/pdf",
    "zip": "application/zip",
    "csv": "text/csv",
    "dcm": "application/dicom",
}


def serve(desk: Desk, port: int = 0) -> ThreadingHTTPServer:
    """A server bound to 127.0.0.1; `serve_forever` runs it. OSError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(self.get)

        def do_POST(self) -> None:
            self.answer(self.post)

        def answer(self, work) -> None:
            try:
                if not self.own():
                    self.send(HTTPStatus.FORBIDDEN, "text/plain", b"only the page itself may ask")
                    return
                work()
            except ConnectionError:  # the tab was closed
                self.close_connection = True
            except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
                self.send(HTTPStatus.BAD_REQUEST, "application/json", json.dumps({"error": str(error)}).encode())

        def own(self) -> bool:
            """Whether the request came from this page, under this computer's own name."""
            here = {f"127.0.0.1:{self.server.server_address[1]}", f"localhost:{self.server.server_address[1]}"}
            origin = self.headers.get("Origin")
            return self.headers.get("Host") in here and (origin is None or urlsplit(origin).netloc in here)

        def get(self) -> None:
            place = urlsplit(self.path)
            asked = {key: values[0] for key, values in parse_qs(place.query).items()}
            if place.path == "/":
                known = {
                    "statements": desk.statements(),
                    "tuned": desk.tuned(),
                    "rhythms": desk.rhythms(),
                    "meaning": desk.encoder is not None,
                    "first": desk.first and desk.about(desk.first),
                }
                text = PAGE.read_text(encoding="utf-8").replace(
                    "/*KNOWN*/null", json.dumps(known).replace("</", "<\\/")
                )
                self.send(HTTPStatus.OK, TYPES["html"], text.encode())
            elif place.path == "/sheet":
                self.json({"sheet": desk.sheet(asked.get("key", ""), int(asked.get("k", 0)))})
            elif place.path == "/file":
                name, content = desk.file(asked.get("key", ""), asked.get("kind", ""), int(asked.get("k", 0)))
                kept = {"Content-Disposition": f'attachment; filename="{name}"'}
                self.send(HTTPStatus.OK, TYPES[name.rsplit(".", 1)[1]], content, kept)
            else:
                self.send(HTTPStatus.NOT_FOUND, "text/plain", b"no such page")

        def post(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if size > MOST:
                self.close_connection = True
                raise ValueError(f"{size / 1e6:.0f} MB: files of up to {MOST / 1e6:.0f} MB can be read here")
            asked = json.loads(self.rfile.read(size) or b"null")
            if not isinstance(asked, dict):
                raise ValueError("expected a JSON object")
            if self.path == "/record":
                self.json(desk.read(uploaded(asked.get("files"))))
            elif self.path == "/nearest":
                self.json({"nearest": desk.nearest(str(asked.get("text", "")))})
            elif self.path == "/twins":
                self.json(desk.draw(asked))
            else:
                self.send(HTTPStatus.NOT_FOUND, "text/plain", b"no such page")

        def json(self, content: dict) -> None:
            self.send(HTTPStatus.OK, TYPES["json"], json.dumps(content).encode())

        def send(self, status: HTTPStatus, kind: str, content: bytes, more: dict[str, str] | None = None) -> None:
            self.send_response(status)
            headers = {
                "Content-Type": kind,
                "Content-Length": str(len(content)),
                "Content-Security-Policy": POLICY,
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
            }
            for key, value in (headers | (more or {})).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Names of records are nobody's business: nothing is logged."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
