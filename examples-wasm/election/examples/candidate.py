"""A server of which one at a time works. Needs election.py: oarlock client python --schema dist/election.wasm --out election.py

Each line of standard input is work. It resigns at the end of its input.
"""

import sys

from election import ElectionClient

name, lease_ms = sys.argv[2], 60_000
elections = ElectionClient(sys.argv[1].split(","), timeout=300)
# Waits until it is elected. If a node fails meanwhile, the client waits on the next one.
reply = elections.campaign(election="db", candidate=name, value=f"{name}:80", lease_ms=lease_ms, wait_ms=250_000)
if "elected" not in reply:
    sys.exit("another candidate leads")
term = reply["elected"]["term"]
print(f"{name} leads in term {term}", flush=True)
for work in sys.stdin:
    elections.renew(election="db", term=term, lease_ms=lease_ms)
    # What receives the work refuses a smaller term than the largest that it has seen.
    print(f"{name} has done {work.strip()} in term {term}", flush=True)
elections.resign(election="db", term=term)
