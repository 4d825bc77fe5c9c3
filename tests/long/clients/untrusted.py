"""Prints the error of a client that does not trust the nodes, and of clients that would send a token without TLS."""

import ssl
import sys

from kv import KvClient, OarlockError

endpoints, token = sys.argv[1].split(","), sys.argv[2]
# It knows the public authorities only.
client = KvClient(endpoints, timeout=1.5, tls=ssl.create_default_context(), token=token)
try:
    client.put(key="k", value="untrusted")
except OarlockError as error:
    print(type(error).__name__, error)
for plain in [endpoints, [f"http://{one}" for one in endpoints]]:
    try:
        KvClient(plain, token=token)
    except ValueError as error:
        print(type(error).__name__, error)
