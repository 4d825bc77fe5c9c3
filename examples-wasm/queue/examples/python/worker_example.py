"""Works on the tasks of a queue, four at once, until Ctrl-C: python3 worker_example.py 127.0.0.1:8101 email"""

import signal
import sys
from types import FrameType
from typing import Optional

from task_queue import TaskQueueClient
from worker import Dead, Task, Worker


def send(task: Task) -> str:
    if not isinstance(task.payload, dict) or "to" not in task.payload:
        raise Dead("a mail needs the field `to`")  # it would fail on each attempt
    print(f"task {task.id}, attempt {task.attempt}: mail to {task.payload['to']}", flush=True)
    return str(task.payload["to"])


def main() -> None:
    worker = Worker(TaskQueueClient(sys.argv[1].split(",")), [sys.argv[2]], send, concurrency=4)

    def stop(_signal: int, _frame: Optional[FrameType]) -> None:
        worker.stop()

    signal.signal(signal.SIGINT, stop)
    worker.run()


main()
