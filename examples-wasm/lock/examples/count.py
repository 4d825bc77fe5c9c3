"""Counts in a file, as several processes do at the same time. Needs lock.py: oarlock client python --schema dist/lock.wasm --out lock.py

Only the owner of the lock writes. The file keeps the fence of the last owner: one whose lease has ended finds a larger fence.
"""

import json
import pathlib
import sys

from lock import LockClient

name, times, file = sys.argv[2], int(sys.argv[3]), pathlib.Path(sys.argv[4])
locks = LockClient(sys.argv[1].split(","), timeout=300)
for number in range(times):
    # Waits until the lock is free. If a node fails meanwhile, the client waits on the next one.
    reply = locks.acquire(lock="count", owner=f"{name}-{number}", lease_ms=60_000, wait_ms=250_000)
    if "granted" not in reply:
        sys.exit("another owner has the lock")
    fence = reply["granted"]["fence"]
    count, last_fence = json.loads(file.read_text())
    if fence <= last_fence:
        sys.exit("the lease has ended: another owner has written")
    file.write_text(json.dumps([count + 1, fence]))
    locks.release(lock="count", fence=fence)
