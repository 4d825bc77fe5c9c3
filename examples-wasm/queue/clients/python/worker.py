"""A worker for the task queue, on top of the client that `oarlock client python` generates as task_queue.py."""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from task_queue import (
    Delivered, FullRefused, NoSuchTaskRefused, OutcomeUnknown, OutOfRangeRefused, StaleTokenRefused, TaskQueueClient,
    Unavailable,
)

_WAIT_S = 10.0  # longest wait of one reserve, and what a worker that stops waits for
_TIMEOUT_S = 120.0  # a command is repeated with the same key for this time, for example over a failover
_UNAVAILABLE = (Unavailable, OutcomeUnknown, FullRefused)
_LOST = (StaleTokenRefused, NoSuchTaskRefused)


class Dead(Exception):
    """A handler raises it to make its task dead, whatever attempts are left."""


class Task:
    """A task that a handler works on."""

    def __init__(self, delivered: Delivered) -> None:
        self.id, self.queue, self.attempt = delivered["id"], delivered["queue"], delivered["attempt"]
        self.token = delivered["token"]
        self.attributes = delivered.get("attributes", {})
        content = delivered.get("payload_base64")
        self.payload: Any = delivered.get("payload") if content is None else base64.b64decode(content)
        self.lost = threading.Event()
        """Set when the task was cancelled, or delivered to another worker: the handler ends as soon as it can."""


class Worker:
    """Runs a handler for each task, several at once in threads. What the handler returns is the result of the task."""

    def __init__(
        self, client: TaskQueueClient, queues: Sequence[str], handler: Callable[[Task], Any], *,
        concurrency: int = 1, lease_s: float = 30.0, name: Optional[str] = None,
    ) -> None:
        self._client, self._queues, self._handler = client.with_timeout(_TIMEOUT_S), list(queues), handler
        self._concurrency, self._lease_s = concurrency, lease_s
        self._name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self._held: dict[int, Task] = {}

    def stop(self) -> None:
        """Takes no more tasks. `run` returns when the handlers have ended."""
        self._stopping.set()

    def run(self) -> None:
        """Works until `stop` is called. Raises what the queue refuses, for example a name that is too long."""
        working = threading.Event()
        extending = threading.Thread(target=self._extend_leases, args=(working,), daemon=True)
        extending.start()
        try:
            with ThreadPoolExecutor(self._concurrency) as pool:
                for ended in [pool.submit(self._work) for _ in range(self._concurrency)]:
                    ended.result()
        finally:
            working.set()
            extending.join()

    def _work(self) -> None:
        lease_ms, wait_ms = int(self._lease_s * 1000), int(min(_WAIT_S, self._lease_s / 3) * 1000)
        try:
            while not self._stopping.is_set():
                begun = time.monotonic()
                try:
                    tasks = self._client.reserve(
                        queues=self._queues, worker=self._name, lease_ms=lease_ms, wait_ms=wait_ms)["tasks"]
                except _UNAVAILABLE:
                    self._stopping.wait(1.0)
                    continue
                for task in map(Task, tasks):
                    if self._stopping.is_set():
                        self._settle(lambda: self._client.release(id=task.id, token=task.token))
                    # A reserve that took long may have used up much of the lease.
                    elif time.monotonic() - begun < self._lease_s / 2 or self._extend(task):
                        self._process(task)
        finally:
            self._stopping.set()  # one that was refused stops the others

    def _process(self, task: Task) -> None:
        with self._lock:
            self._held[task.id] = task
        try:
            result = self._handler(task)
        except Exception as error:
            reason = "cancelled" if task.lost.is_set() else f"{type(error).__name__}: {error}"
            self._fail(task, reason, isinstance(error, Dead))
        else:
            try:
                self._settle(lambda: self._client.ack(id=task.id, token=task.token, result_=result))
            except OutOfRangeRefused as refused:  # for example a result that is too long
                self._fail(task, str(refused), False)
        finally:
            with self._lock:
                self._held.pop(task.id, None)

    def _fail(self, task: Task, reason: str, dead: bool) -> None:
        self._settle(lambda: self._client.nack(id=task.id, token=task.token, error=reason[:1000], dead=dead))

    def _settle(self, command: Callable[[], object]) -> None:
        try:
            command()
        except (*_LOST, *_UNAVAILABLE):
            pass  # it is another worker's, or becomes one when the lease ends

    def _extend(self, task: Task) -> bool:
        try:
            reply = self._client.extend(id=task.id, token=task.token, lease_ms=int(self._lease_s * 1000))
        except _UNAVAILABLE:
            return True  # without a leader no time passes in the queue
        except _LOST:
            return False
        return not reply.get("cancelled", False)

    def _extend_leases(self, working: threading.Event) -> None:
        while not working.wait(self._lease_s / 3):
            with self._lock:
                held = list(self._held.values())
            for task in held:
                if not self._extend(task):
                    task.lost.set()
