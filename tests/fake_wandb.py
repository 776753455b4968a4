"""A W&B server on loopback, as much of it as the client needs to believe in it."""

from __future__ import annotations

import gzip
import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROJECT = {"name": "ssl-isda", "entity": {"name": "tester"}}
HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


class FakeServer(ThreadingHTTPServer):
    """Keeps what is streamed to it: by run, by file, each line under its number."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lines: dict[str, dict[str, dict[int, Any]]] = defaultdict(lambda: defaultdict(dict))
        self.runs: dict[str, dict[str, Any]] = {}
        self.silent = threading.Event()
        """Once set, requests are taken and never answered."""
        self.lost = threading.Event()
        """Once set, every connection is closed without an answer: the network is gone."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle of a request."""

    def epochs(self, run: str) -> list[int]:
        """The epochs in the history of a run, in order."""
        lines = self.lines[run][HISTORY]
        return [lines[number]["epoch"] for number in sorted(lines)]


class Handler(BaseHTTPRequestHandler):
    """Answers GraphQL, file streams and uploads."""

    server: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        self._body()
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/graphql":
            self._answer({"data": self._graphql(json.loads(body))})
        elif self.path.endswith("/file_stream"):
            self._keep(self.path.split("/")[-2], json.loads(body).get("files") or {})
            self._answer({})
        else:  # the client's own telemetry
            self._answer({})

    def _graphql(self, request: dict[str, Any]) -> dict[str, Any]:
        given = request.get("variables") or {}
        if request.get("operationName") == "UpsertBucket":
            kept = self.server.runs.setdefault(given["name"], {})
            kept |= {name: value for name, value in given.items() if value is not None}
            bucket = {"id": "1", "name": given["name"], "project": PROJECT, "historyLineCount": 0}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if request.get("operationName") == "CreateRunFiles":
            files = [{"name": f, "uploadUrl": f"{self.server.url}/up/{f}"} for f in given["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        return {}

    def _keep(self, run: str, files: dict[str, Any]) -> None:
        for name, chunk in files.items():
            for number, line in enumerate(chunk["content"], start=chunk["offset"]):
                self.server.lines[run][name][number] = json.loads(line)

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, content: dict[str, Any]) -> None:
        if self.server.silent.is_set():
            threading.Event().wait()
        if self.server.lost.is_set():
            self.close_connection = True
            return
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
