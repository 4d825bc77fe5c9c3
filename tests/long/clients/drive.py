"""Uses the generated clients, as a program would. Exits with an error where a command was lost or applied twice."""

import ssl
import sys

from counter import CounterClient, OverflowRefused
from kv import KvClient, Refused
from lock import LockClient, NotHeldRefused
from task_queue import StaleTokenRefused, TaskQueueClient

TIMEOUT_S = 120


def drive_counter(client: CounterClient, count: int) -> None:
    for _ in range(count):
        client.add(by=1)
    try:
        client.add(by=2**63 - 1)
    except OverflowRefused as refused:
        assert refused.field == "by", refused.body
    else:
        raise AssertionError("the sum does not fit")


def drive_kv(client: KvClient, name: str, count: int) -> None:
    for number in range(count):
        before = client.get(key=name)["value"]
        assert before == (None if number == 0 else str(number)), (before, number)
        reply = client.cas(key=name, expect=before, value=str(number + 1))
        assert reply["swapped"] and reply["current"] == str(number + 1), reply
    assert client.put(key=f"{name}-2", value="é\u2028\"\\")["previous"] is None
    assert client.get(key=f"{name}-2")["value"] == "é\u2028\"\\"
    assert client.delete(key=f"{name}-2")["previous"] == "é\u2028\"\\"
    try:
        client.get(key="x" * 5000)
    except Refused as refused:
        assert refused.code == "too_large", refused.body
    else:
        raise AssertionError("the key is too long")


def drive_lock(client: LockClient, name: str, count: int) -> None:
    before = 0
    for number in range(count):
        # Another owner each time: an acquire that was applied twice would wait for itself.
        owner = f"{name}-{number}"
        reply = client.acquire(lock="l", owner=owner, lease_ms=3_600_000, wait_ms=3_600_000)
        assert "granted" in reply, reply
        fence = reply["granted"]["fence"]
        assert fence > before, (fence, before)
        before = fence
        client.release(lock="l", fence=fence)
    try:
        client.release(lock="l", fence=before)
    except NotHeldRefused as refused:
        assert refused.field == "fence", refused.body
    else:
        raise AssertionError("it is released")


def drive_queue(client: TaskQueueClient, name: str, count: int) -> None:
    for number in range(count):
        assert not client.enqueue(queue=name, payload={"number": number}, delay_ms=0)["duplicate"]
    done: list[int] = []
    while len(done) < count:
        tasks = client.reserve(queues=[name], worker=name, lease_ms=3_600_000, max=7)["tasks"]
        assert tasks, "a reserve that was applied twice has leased tasks that no reply contains"
        for task in tasks:
            client.ack(id=task["id"], token=task["token"])
            done.append(task["payload"]["number"])
    assert done == list(range(count)), done
    last = client.enqueue(queue=name, payload=None)["id"]
    (task,) = client.reserve(queues=[name], worker=name, lease_ms=1_000)["tasks"]
    assert task["id"] == last and task["payload"] is None
    try:
        client.ack(id=last, token="no")
    except StaleTokenRefused:
        pass
    else:
        raise AssertionError("the token is wrong")
    client.ack(id=last, token=task["token"])
    found = client.task(id=last)["task"]
    assert found is None, found
    counts = client.stats()["queues"][name]
    assert counts == {"ready": 0, "delayed": 0, "leased": 0, "dead": 0, "completed": count + 1}, counts


def main() -> None:
    guest, endpoints, name, count = sys.argv[1], sys.argv[2].split(","), sys.argv[3], int(sys.argv[4])
    authority, token = sys.argv[5:7] if len(sys.argv) > 5 else (None, None)
    tls = ssl.create_default_context(cafile=authority) if authority else None
    if guest == "counter":
        drive_counter(CounterClient(endpoints, timeout=TIMEOUT_S), count)
    elif guest == "kv":
        drive_kv(KvClient(endpoints, timeout=TIMEOUT_S, tls=tls, token=token), name, count)
    elif guest == "lock":
        drive_lock(LockClient(endpoints, timeout=TIMEOUT_S), name, count)
    else:
        drive_queue(TaskQueueClient(endpoints, timeout=TIMEOUT_S), name, count)


main()
