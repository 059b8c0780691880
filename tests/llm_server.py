"""A real HTTP server on this machine that speaks the wire format of chat completions, and misbehaves as told."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Act:
    """How the server meets one request."""

    status: int = 200
    body: Any = None
    """JSON, or text as it stands."""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    dies: bool = False
    """Ends the connection in the middle of the body."""
    drips: float = 0.0
    """Seconds between two bytes of the body."""


def says(value: Any, *, finish: str = "stop", usage: tuple[int, int] | None = (100, 20), **message: Any) -> Act:
    """A completion whose text is `value`, as JSON unless it is a text."""
    text = value if isinstance(value, str) or value is None else json.dumps(value)
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    body = {"id": "c1", "object": "chat.completion", "created": 1_800_000_000, "model": "judge-1", "choices": [choice]}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Act(body=body)


def fails(status: int, message: str = "no", *, headers: Mapping[str, str] | None = None, **error: Any) -> Act:
    return Act(status, {"error": {"message": message, **error}}, headers or {})


class LlmServer:
    """`meet(body, number)` says how to meet the `number`-th request, counted from 0. `bodies` are those received."""

    def __init__(self, meet: Callable[[Body, int], Act]) -> None:
        self.meet = meet
        self.bodies: list[Body] = []
        self.keys: list[str] = []
        self.times: list[float] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.url = ""


@contextmanager
def serving(meet: Callable[[Body, int], Act]) -> Iterator[LlmServer]:
    llm = LlmServer(meet)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with llm.lock:
                number = len(llm.bodies)
                llm.bodies.append(body)
                llm.keys.append(self.headers["Authorization"])
                llm.times.append(time.monotonic())
                llm.under_way += 1
                llm.most_under_way = max(llm.most_under_way, llm.under_way)
            try:
                self.respond(Act(404, {}) if self.path != "/v1/chat/completions" else llm.meet(body, number))
            finally:
                with llm.lock:
                    llm.under_way -= 1

        def respond(self, act: Act) -> None:
            time.sleep(act.delay)
            payload = (act.body if isinstance(act.body, str) else json.dumps(act.body)).encode()
            try:
                self.send_response(act.status)
                for name, value in {"Content-Type": "application/json", **act.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                for byte in payload if act.drips else b"":
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(act.drips)
                if act.drips:
                    return
                self.wfile.write(payload[: len(payload) // 2] if act.dies else payload)
                self.wfile.flush()
            except (BrokenPipeError, ConnectionResetError):
                return
            if act.dies:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    llm.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield llm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
