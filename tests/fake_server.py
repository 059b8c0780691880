"""A chat-completions server for tests, of the standard library alone.

    python fake_server.py --port 8000 [--answers FILE] [--die-after N] [--delay S] [--stubborn] ...

Greedy answers are looked up in FILE, JSON of `key_of(question, image URL)`; others are random words of the seed.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Reply = tuple[int, Mapping[str, str], str | bytes]
"""Status, headers, body."""

Answer = Callable[[Mapping[str, Any], Any], Reply]
"""From the body and the headers of a request."""


def key_of(question: str, url: str) -> str:
    return f"{question} {hashlib.sha256(url.encode()).hexdigest()}"


def question_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """Question and image URL ("" for none) of a request."""
    parts = {part["type"]: part for part in body["messages"][0]["content"]}
    return parts["text"]["text"], parts.get("image_url", {"image_url": {"url": ""}})["image_url"]["url"]


def completion(body: Mapping[str, Any], *texts: str | None, **more: Any) -> Reply:
    choices = [{"index": i, "message": {"role": "assistant", "content": text}} for i, text in enumerate(texts)]
    return 200, {}, json.dumps({"model": body["model"], "choices": choices, **more})


def random_words(seed: int) -> str:
    return " ".join(random.Random(seed).choices(["red", "blue", "crest", "bill", "tail"], k=8))


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server in this process that answers (body, headers). Gives its address, up to /v1."""
    server = _server(0, answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _server(port: int, answer: Answer) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, {}, "{}")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*answer(body, self.headers))

        def _send(self, status: int, headers: Mapping[str, str], text: str | bytes) -> None:
            payload = text.encode() if isinstance(text, str) else text
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):  # the client gave up
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    return Server(("localhost", port), Handler)


def has_ended(process: int, within: float = 10.0) -> bool:
    """Whether a process has ended, or is a zombie."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        listed = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
        if listed.stdout.strip()[:1] in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


def is_gone(group: int, within: float = 10.0) -> bool:
    """Whether no process of a group lives, zombies that wait for a parent aside."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
        if not any(int(row.split()[0]) == group and row.split()[1][0] != "Z" for row in listed.splitlines()):
            return True
        time.sleep(0.05)
    return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--die-after", type=int, default=-1)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--in-use", type=Path)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--daemon", type=Path, help="starts a process in a session of its own, whose id goes here")
    options = parser.parse_args()
    if options.in_use is not None and not options.in_use.exists():
        options.in_use.touch()
        sys.exit("OSError: [Errno 98] Address already in use")
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.child:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if options.daemon:
        code = "import os, sys, time; os.fork() and os._exit(0); os.setsid(); " \
            "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"  # fmt: skip
        subprocess.run([sys.executable, "-c", code, str(options.daemon)], check=True)
    known = json.loads(options.answers.read_text()) if options.answers else {}
    asked = 0

    def answer(body: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        nonlocal asked
        asked += 1
        if asked == options.die_after:
            print("CUDA out of memory", flush=True)
            os._exit(3)
        if body["temperature"] == 0:
            return completion(body, known.get(key_of(*question_of(body)), "I do not know."))
        return completion(body, *(random_words(body["seed"] + i) for i in range(body.get("n", 1))))

    time.sleep(options.delay)
    print(f"listening on {options.port}", flush=True)
    _server(options.port, answer).serve_forever()


if __name__ == "__main__":
    main()
