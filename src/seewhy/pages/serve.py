"""`seewhy serve RUN`: what `seewhy explain` says of a photo, over HTTP.

    curl -H 'Authorization: Bearer TOKEN' --data-binary @photo.jpg http://127.0.0.1:8000/explain

An image comes as the request's body, or as the part `image` of a form. One model answers one request at a time; a
limited number wait. `/openapi.json` is the schema, `/docs` a page about it that needs no script, `/health` says that it
lives, `/metrics` what it has done.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

from seewhy.errors import SeeWhyError
from seewhy.explanation.asking import Asker, Question
from seewhy.pages.door import Door, listen, with_token
from seewhy.pages.guard import FORM, App, Guard
from seewhy.pages.jobs import OneAtATime, QueueFull, TookTooLong
from seewhy.pages.measured import Measured
from seewhy.pages.shell import fastapi, leave_a_core, rendered, scratch_folder, serve_app
from seewhy.pages.uploads import opened
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import BASE, ModelKey

OPEN = ("/health", "/favicon.ico")
"""What needs no token."""
LONGEST_QUESTION = 2000
RETRY_AFTER = "2"


@dataclass
class Size:
    """Width and height of the photo as it was read, in pixels: upright, and its longer side at most 2048."""

    width: int
    height: int


@dataclass
class StatedReason:
    """A concept that the answer states. Support is the share of the sampled answers that state it too."""

    concept: str
    support: float
    box: list[float] | None
    """[left, top, right, bottom] in pixels of `size`: where the model looks most, as coarse as its patches."""
    where: str | None
    """The part of the photo: 'top left', 'middle'."""


@dataclass
class Answered:
    """What a model says of a photo. Confidence says how steady it is, not how often it is right."""

    image: str
    """Name of the file, where the request gave one."""
    sha256: str
    """Of the bytes that were sent."""
    model: str
    question: str
    label: str | None
    """None where the answer names none of the run's labels, or several."""
    confidence: float
    """The share of sampled answers that name the label."""
    answer: str
    reasons: list[StatedReason]
    sampled: dict[str, int]
    """What the sampled answers name, and how many do; '' for none or several."""
    size: Size
    no_overlay: str | None
    """Why reasons have no boxes, where they have none."""


class Refused(Exception):
    """A request that is not answered. `status` and `text` say why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def serve(run: str, door: Door, *, samples: int, round: int | None, base: bool, trust_remote_code: bool | None) -> None:
    """Serve until Ctrl-C. Raises SeeWhyError for a run without that model, before anything listens."""
    fastapi("The server")
    opened_run = FinishedRun.open(run, trust_remote_code=trust_remote_code)
    model = BASE if base else opened_run.method_model(round)
    asker = Asker(opened_run, samples=samples)
    door = with_token(door)
    with leave_a_core(), scratch_folder(opened_run.path):
        asker.model(model)
        serve_app(api_app(asker, model, door), door, listen(door), f"{opened_run.path} ({model.title}) answers at")


def api_app(asker: Asker, model: ModelKey, door: Door) -> App:
    """Return the API as an ASGI application behind its guard."""
    web = fastapi("The server")
    jobs, measured = OneAtATime(door.queue, door.seconds), Measured()
    about = f'What the model of {model.title} says of a photo, and why. Errors are JSON: {{"error": "..."}}.'
    api = web.FastAPI(title="SeeWhy", description=about, docs_url=None, redoc_url=None)
    add_routes(api, asker, model, door, jobs, measured)
    outer = web.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    if door.path:
        outer.mount(door.path, api)
    outer.mount("/", api)
    return Guard(outer, door, open_paths=OPEN)


def add_routes(api: Any, asker: Asker, model: ModelKey, door: Door, jobs: OneAtATime, measured: Measured) -> None:
    """Add what the API answers."""
    from fastapi import Request
    from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
    from starlette.requests import ClientDisconnect

    body = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "schema": {
            "type": "object", "required": ["image"], "properties": {"image": {"type": "string", "format": "binary"}},
        },
    }  # fmt: skip
    taken = {"requestBody": {"required": True, "content": {"image/*": body, "multipart/form-data": form}}}
    texts = {
        400: "Not an image that can be read, or more pixels than are taken",
        401: "No token, or a wrong one",
        408: "The sender was silent for too long",
        413: "More bytes than are taken",
        422: "A question that cannot be put, or a parameter that is none",
        429: "As many requests wait as may: come back later",
        504: "Not answered in time",
    }
    responses: Any = {status: {"description": text} for status, text in texts.items()}

    @api.post("/explain", response_model=Answered, responses=responses, openapi_extra=taken, summary="Explain a photo")
    async def explain(request: Request, question: str = "") -> Any:
        """Name what a photo shows and say why. Without `question` the run's own evaluation question is put."""
        start = time.monotonic()
        try:
            found = await _explained(request, question)
            status, response = 200, JSONResponse(found)
        except Refused as refused:
            more = {"retry-after": RETRY_AFTER} if refused.status == 429 else {}
            status, response = refused.status, JSONResponse({"error": refused.text}, refused.status, headers=more)
        measured.count(status, time.monotonic() - start)
        return response

    async def _explained(request: Any, question: str) -> dict[str, Any]:
        if len(question) > LONGEST_QUESTION:
            raise Refused(422, f"The question has {len(question)} characters, more than {LONGEST_QUESTION}.")
        try:
            data, name = await _sent(request, door)
        except ClientDisconnect:
            raise Refused(408, "The sender has gone before all was sent.") from None
        text = question.strip() or asker.run.questions.evaluation

        def job() -> dict[str, Any]:
            try:
                picture = opened(data, name, door)
            except SeeWhyError as error:
                raise Refused(400, str(error)) from error
            try:
                values = asker.explain(Question(picture, text, model, name=name)).as_values()
            except SeeWhyError as error:
                raise Refused(422, str(error)) from error
            return {**values, "sha256": hashlib.sha256(data).hexdigest()}

        try:
            return await jobs.run(job)
        except QueueFull:
            raise Refused(429, f"{door.queue} requests wait already (--queue): come back later.") from None
        except TookTooLong:
            raise Refused(504, f"Not answered within {door.seconds} seconds (--seconds).") from None

    @api.get("/health", summary="Whether it lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/metrics", response_class=PlainTextResponse, summary="Figures for Prometheus")
    async def metrics() -> str:
        return measured.text(jobs.inside)

    @api.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs(request: Request) -> str:
        base = str(request.base_url).rstrip("/")
        return rendered("docs.html", schema=api.openapi(), base=base, door=door, run=str(asker.run.path))


async def _sent(request: Any, door: Door) -> tuple[bytes, str]:
    """Return the bytes of the image and the name of its file. Raises Refused where there is none."""
    from starlette.formparsers import MultiPartException, MultiPartParser

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body(), "image"
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=8)
    parser.spool_max_size = door.max_bytes + FORM  # in memory: nothing is written
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise Refused(400, f"The form cannot be read: {getattr(error, 'message', error)}.") from error
    image = form.get("image")
    if image is None or isinstance(image, str):
        raise Refused(400, "The form has no file in its part 'image'.")
    return await image.read(), image.filename or "image"
