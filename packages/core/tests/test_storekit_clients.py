"""Clients of stores, one for each process."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from coatcheck.storekit import ClientPerProcess


def test_threads_that_come_at_once_make_one_client() -> None:
    """The first requests of a process do not make a client each, which may take long."""
    making, another = [], threading.Event()

    def make() -> object:
        making.append(threading.get_ident())
        if len(making) > 1:
            another.set()
        another.wait(0.3)  # for those that would make one, too
        return object()

    clients = ClientPerProcess(make, lambda _: None)
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: clients.get(), range(8)))
    assert len(found) == len(making) == 1


def test_threads_that_wait_share_a_failure() -> None:
    """They do not fail one after the other, each after as long as it takes."""
    attempts, arrived = [], threading.Barrier(8)

    def make() -> object:
        attempts.append(1)
        time.sleep(0.3)  # the others come meanwhile
        raise OSError("not yet")

    clients = ClientPerProcess(make, lambda _: None)

    def failed(_: int) -> bool:
        arrived.wait(10)
        try:
            clients.get()
        except OSError:
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(failed, range(8)))
    assert len(attempts) <= 2  # one thread may have come late


def test_a_client_that_cannot_be_made_is_tried_again() -> None:
    attempts = []

    def make() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("not yet")
        return "client"

    clients = ClientPerProcess(make, lambda _: None)
    for expected in (None, "client"):
        try:
            found = clients.get()
        except OSError:
            found = None
        assert found == expected


@pytest.mark.filterwarnings("ignore:This process .* multi-threaded:DeprecationWarning")  # it is
def test_a_child_forked_meanwhile_makes_its_own() -> None:
    """It can, although another thread was busy when the process was copied."""
    begun, forked = threading.Event(), threading.Event()

    def make() -> int:
        if not begun.is_set():
            begun.set()
            forked.wait(10)
        return os.getpid()

    clients = ClientPerProcess(make, lambda _: None)
    thread = threading.Thread(target=clients.get)
    thread.start()
    begun.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(clients.get() != os.getpid())
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert clients.get() == os.getpid()
