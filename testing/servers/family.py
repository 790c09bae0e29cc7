"""The processes that a server has started: a database has one for each connection."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil

_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def children(pid: int) -> list[psutil.Process]:
    """Return the processes that a process has started, and those that they have started."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, as a power failure does."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def pause(processes: Iterable[psutil.Process]) -> None:
    """Let processes stand still, and return when they do."""
    for process in processes:
        try:
            process.suspend()
            while process.status() not in (psutil.STATUS_STOPPED, *_ENDED):
                time.sleep(0.001)
        except psutil.NoSuchProcess:
            continue


def resume(processes: Iterable[psutil.Process]) -> None:
    """Let processes continue."""
    for process in processes:
        try:
            process.resume()
        except psutil.NoSuchProcess:
            continue


def wait_for_end(processes: Iterable[psutil.Process]) -> None:
    """Wait for processes that were killed; they are other processes' children, or nobody's."""
    for process in processes:
        try:
            while process.status() not in _ENDED:
                time.sleep(0.001)
        except psutil.NoSuchProcess:
            continue
