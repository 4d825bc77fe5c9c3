"""Prints the versions of the flags that change, until the version `last`."""

import json
import sys

from flags import FlagsClient

client = FlagsClient(sys.argv[1].split(","), timeout=120)
last = int(sys.argv[2])
for event in client.events(topic="flag", after="0.0"):
    assert event.topic == "flag", event
    version = json.loads(event.data)["version"]
    print(f"{event.id} {version}", flush=True)
    if version == last:
        break
