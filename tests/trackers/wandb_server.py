"""As much of a W&B server as its client needs to send a run and to resume it."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    """``history`` has the lines of each run, ``summaries`` and ``ends`` what it ended with; each request
    takes ``seconds``."""

    url: str = ""
    seconds: float = 0.0
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    ends: dict[str, list[int]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40}

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history[run_id]]

    def query(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "p", "name": given.get("project"), "entity": {"id": "e", "name": "me"}}
        match name:
            case "Viewer":
                return {"viewer": {"id": "v", "entity": "me", "flags": "{}", "teams": {"edges": []}}}
            case "UpsertBucket":
                run = self.runs.setdefault(given["name"], {})
                run |= {key: value for key, value in given.items() if value is not None}
                self.history.setdefault(given["name"], [])
                bucket = {"id": given["name"], "name": given["name"], "project": project, "config": "{}"}
                return {"upsertBucket": {"bucket": bucket, "inserted": True}}
            case "RunResumeStatus" if given["name"] in self.runs:
                lines = self.history[given["name"]]
                counts = {"historyLineCount": len(lines), "logLineCount": 0, "eventsLineCount": 0}
                tails = {"historyTail": json.dumps(lines[-1:]), "eventsTail": "[]", "summaryMetrics": "{}"}
                bucket = {"id": given["name"], "name": given["name"], "config": "{}", "tags": []}
                return {
                    "model": {**project, "bucket": {**bucket, **counts, **tails, "wandbConfig": '{"t": 1}'}}
                }
            case "RunResumeStatus":
                return {"model": {**project, "bucket": None}}
            case "CreateRunFiles":
                files = [
                    {"name": file, "uploadUrl": f"{self.url}/{given['run']}/{file}"}
                    for file in given["files"]
                ]
                return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
        return {}

    def take(self, path: str, body: bytes) -> dict[str, Any]:
        *_, run_id, what = path.split("/")
        if path.endswith("/graphql"):
            asked = json.loads(body)
            return {"data": self.query(asked["operationName"], asked.get("variables") or {})}
        if what == "wandb-summary.json":
            self.summaries[run_id] = json.loads(body)
        elif what == "file_stream":
            sent = json.loads(body)
            if part := (sent.get("files") or {}).get("wandb-history.jsonl"):
                self.history[run_id][part["offset"] :] = part["content"]
            if sent.get("complete"):
                self.ends.setdefault(run_id, []).append(sent["exitcode"])
        return {}


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            time.sleep(server.seconds)
            answer = json.dumps(server.take(self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_PUT = do_POST

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
