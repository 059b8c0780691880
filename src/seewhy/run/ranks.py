"""The ranks of one job: processes that torchrun or `accelerate launch` started, one for each GPU.

    torchrun --nproc-per-node 8 -m seewhy run birds.yaml

Rank 0 drives the run, and makes shards like the others. An order to make a stage stands in the job's key-value store
(the one by which torch's processes find each other); whoever is free takes the next shard of it. What is made goes to
the run folder, which all machines share. Every rank counts aloud in the store: one that stops for a minute is taken for
dead, by its silence and no clock. Whoever started the ranks ends them all when one dies, and the run goes on when it is
started again.
"""

import itertools
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from torch import distributed
from torch.distributed import PrefixStore, Store, TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.rendezvous import rendezvous

from seewhy.errors import SeeWhyError

SILENT = 60.0
"""Seconds without a sign of life after which a rank is taken for dead."""
BEAT = 2.0
"""Seconds between two signs of life."""
POLL = 0.05
"""Seconds between two looks at the store."""
TO_BEGIN = 600.0
"""Seconds in which all ranks have to begin."""

_runs = itertools.count()
"""Numbers the runs of this process; every rank makes the same ones in the same order."""


def world_size() -> int:
    """Return how many ranks this process is one of; 1 where nothing started several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this rank."""
    return int(os.environ.get("RANK", "0"))


@dataclass(frozen=True)
class Order:
    """A stage to make: its shards, or (None) a folder that all ranks make together."""

    number: int
    stage: str
    shards: Sequence[int] | None


class Ranks:
    """All ranks of the job, for one run. Rank 0 gives orders (`make`, `together`), the others take them (`orders`)."""

    def __init__(self) -> None:
        self._store = PrefixStore(f"seewhy/{next(_runs)}", _joined())
        self._orders = itertools.count()
        self._signs: dict[int, tuple[bytes, float]] = {}
        self.names: dict[int, str] = {}

    # What rank 0 does.

    def make(
        self, stage: str, missing: Sequence[int], here: Callable[[int], None], made: Callable[[int], None]
    ) -> None:
        """Make the missing shards of a stage, each by the next rank that is free."""
        order, outstanding, seen, free = self._give(stage, missing), dict(enumerate(missing)), 0, True
        while outstanding:
            place = self._take(order) if free else None
            free = place is not None
            if place is not None:
                here(missing[place])
                self._tell(f"made/{order.number}/{place}", None)
            else:
                time.sleep(POLL)
            seen = max(seen, min(len(missing), self._count(f"taken/{order.number}")))
            for place in [place for place in outstanding if place < seen]:
                if self._knows(f"made/{order.number}/{place}"):
                    made(outstanding.pop(place))
            self._look_after_others()

    def together(self, stage: str, here: Callable[[], None]) -> None:
        """Make a stage with all ranks at once."""
        self._give(stage, None)
        try:
            here()
        except RuntimeError:  # a peer that died breaks the connection in the midst of a step
            self._wait_for_bad_news()
            raise
        self._look_after_others()

    def greet(self) -> dict[str, Mapping[str, Any]]:
        """Return what each other rank says of itself, by name. Raises SeeWhyError where one does not appear."""
        until = time.monotonic() + TO_BEGIN
        found = {}
        for number in range(1, world_size()):
            while not self._knows(f"hello/{number}"):
                if time.monotonic() > until:
                    raise SeeWhyError(
                        f"Rank {number} of {world_size()} has not begun {TO_BEGIN / 60:g} minutes after rank 0 did on "
                        f"{platform.node()}. Look at its machine, and start the job again."
                    )
                self._raise_failure()
                time.sleep(POLL)
            told = self._read(f"hello/{number}")
            self.names[number] = name_of(number, told)
            found[self.names[number]] = told
        return found

    def tell(self, key: str, value: Any) -> None:
        """Tell all ranks something, once."""
        self._tell(key, value)

    def hear_all(self, key: str) -> list[Any]:
        """Return what each other rank answers."""
        heard = []
        for number in range(1, world_size()):
            while not self._knows(f"{key}/{number}"):
                self._look_after_others()
                time.sleep(POLL)
            heard.append(self._read(f"{key}/{number}"))
        return heard

    def dismiss(self) -> None:
        """Tell the others that the run has ended, and wait a moment until they know."""
        self._tell(f"order/{next(self._orders)}", {"stage": ""})
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if all(self._knows(f"bye/{number}") for number in range(1, world_size())):
                return
            time.sleep(POLL)

    def _give(self, stage: str, shards: Sequence[int] | None) -> Order:
        order = Order(next(self._orders), stage, shards)
        self._tell(f"order/{order.number}", {"stage": stage, "shards": shards})
        return order

    def _look_after_others(self) -> None:
        self._raise_failure()
        for number in range(1, world_size()):
            if self._is_silent(number):
                raise SeeWhyError(
                    f"{self.names.get(number, f'Rank {number}')} has given no sign of life for {SILENT:g} seconds, so "
                    "the job ends. What is finished is kept: start it again, and it goes on."
                )

    def _raise_failure(self) -> None:
        if self._knows("failed"):
            failed = self._read("failed")
            self._tell("heard", None)
            raise SeeWhyError(failed)

    def _wait_for_bad_news(self) -> None:
        """Raise SeeWhyError where another rank says what went wrong with it, or falls silent."""
        until = time.monotonic() + SILENT + 2 * BEAT
        while time.monotonic() < until:
            self._look_after_others()
            time.sleep(BEAT)

    # What the other ranks do.

    def introduce(self, me: Mapping[str, Any]) -> None:
        """Tell rank 0 what this rank is."""
        self._tell(f"hello/{rank()}", me)

    def hear(self, key: str) -> Any:
        """Wait for what rank 0 tells all. Raises SeeWhyError if rank 0 falls silent."""
        while not self._knows(key):
            if self._is_silent(0):
                raise SeeWhyError(f"Rank 0 has given no sign of life for {SILENT:g} seconds, so this rank ends.")
            time.sleep(POLL)
        return self._read(key)

    def answer(self, key: str, value: Any) -> None:
        """Answer rank 0."""
        self._tell(f"{key}/{rank()}", value)

    def orders(self) -> Iterator[Order]:
        """Yield the orders of rank 0 until it says that the run has ended."""
        for number in self._orders:
            order = self.hear(f"order/{number}")
            if not order["stage"]:
                self._tell(f"bye/{rank()}", None)
                return
            yield Order(number, **order)

    def carry_out(self, order: Order, make: Callable[[int], None]) -> None:
        """Make what this rank gets of an order."""
        if order.shards is None:
            make(0)
            return
        while (place := self._take(order)) is not None:
            make(order.shards[place])
            self._tell(f"made/{order.number}/{place}", None)

    def fail(self, reason: str) -> bool:
        """Tell rank 0 why this rank ends, and return whether it has heard it. Where rank 0 has ended, nobody does."""
        until = time.monotonic() + 10
        with suppress(RuntimeError, distributed.DistError):
            self._tell("failed", reason)
            while time.monotonic() < until:
                if self._knows("heard"):
                    return True
                time.sleep(POLL)
        return False

    # What all do.

    def _take(self, order: Order) -> int | None:
        """Return the place of the next shard of an order that nobody has taken, and take it."""
        shards = order.shards or ()
        place = self._store.add(f"taken/{order.number}", 1) - 1
        return place if place < len(shards) else None

    def _count(self, key: str) -> int:
        return self._store.add(key, 0)

    def _tell(self, key: str, value: Any) -> None:
        self._store.set(key, json.dumps(value))

    def _knows(self, key: str) -> bool:
        return self._store.check([key])

    def _read(self, key: str) -> Any:
        return json.loads(self._store.get(key))

    def _is_silent(self, number: int) -> bool:
        """Return whether a rank's count has stood still for too long, by this process's own clock."""
        beats, now = _beats(), time.monotonic()
        sign = beats.get(str(number)) if beats.check([str(number)]) else b""
        if number not in self._signs or self._signs[number][0] != sign:
            self._signs[number] = sign, now
        return now - self._signs[number][1] > SILENT


def name_of(number: int, about: Mapping[str, Any]) -> str:
    """Return how messages name a rank."""
    return f"Rank {number} (process {about['process']} on {about['host']})"


@cache
def _joined() -> Store:
    """Join the job's process group, once, and return the job's store."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, number, size = next(rendezvous("env://", timeout=timedelta(seconds=TO_BEGIN)))
    distributed.init_process_group(backend, store=PrefixStore("seewhy/group", store), rank=number, world_size=size)
    threading.Thread(target=_beat, daemon=True).start()
    return store


@cache
def _beats() -> Store:
    """Return a store of signs of life, over a connection of its own: a wait on the job's does not hold it up."""
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    port = int(os.environ["MASTER_PORT"])
    store = TCPStore(os.environ["MASTER_ADDR"], port, is_master=False, wait_for_workers=False)
    return PrefixStore(f"seewhy/beats/{attempt}", store)


def _beat() -> None:
    """Give signs of life. Without the store there is no job any more: end, whatever this rank is doing."""
    try:
        for number in itertools.count():
            _beats().set(str(rank()), str(number))
            time.sleep(BEAT)
    except (RuntimeError, distributed.DistError):
        os._exit(1)
