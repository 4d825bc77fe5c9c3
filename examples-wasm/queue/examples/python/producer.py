"""Adds tasks to a queue: python3 producer.py 127.0.0.1:8101,127.0.0.1:8102 email 10"""

import sys

from task_queue import FullRefused, TaskQueueClient


def main() -> None:
    endpoints, queue, count = sys.argv[1].split(","), sys.argv[2], int(sys.argv[3])
    client = TaskQueueClient(endpoints, timeout=30)
    for number in range(1, count + 1):
        try:
            added = client.enqueue(
                queue=queue,
                payload={"to": f"user{number}@example.org"},
                dedupe_key=f"welcome-{number}",  # a second run adds nothing
            )
        except FullRefused as refused:
            sys.exit(f"the queue is full: {refused.message}")
        print(f"task {added['id']}, duplicate: {added['duplicate']}", flush=True)


main()
