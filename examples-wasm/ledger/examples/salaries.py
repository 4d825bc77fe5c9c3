"""Pays salaries from one account. Needs ledger.py: oarlock client python --schema dist/ledger.wasm --out ledger.py"""

import sys

from ledger import AccountExistsRefused, LedgerClient, OverdrawnRefused

ledger = LedgerClient(sys.argv[1].split(","))
for account in ["company", "ann", "bob"]:
    try:
        ledger.open(account=account, credit=0)
    except AccountExistsRefused:
        pass  # from an earlier run
ledger.deposit(account="company", amount=1_000)
for person, salary in [("ann", 600), ("bob", 300), ("ann", 200)]:
    try:
        # A lost connection does no harm: the client repeats the transfer with the same idempotency key.
        accounts = ledger.transfer(from_="company", to=person, amount=salary)
        print(f"paid {salary} to {person}, {accounts['from']['balance']} left")
    except OverdrawnRefused as refused:
        print(f"did not pay {salary} to {person}: {refused.message}")
print(f"total {ledger.total()['total']}")
