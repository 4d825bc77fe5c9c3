"""Relays an outbox table of SQLite to the queue: python3 outbox.py app.db 127.0.0.1:8101,127.0.0.1:8102 [--once]

The application writes its data and the task in one transaction, so that there is a task if and only if there are the data:

    with database:
        database.execute("INSERT INTO users (name) VALUES (?)", ("ann",))
        database.execute("INSERT INTO outbox (queue, payload) VALUES (?, ?)", ("email", '{"to": "ann"}'))

A row is deleted once the queue has its task. If the relay dies in between, it sends the row again: the deduplication key, which
has the identity of the database in it, makes the queue add it once.
"""

import json
import sqlite3
import sys
import time
import uuid
from typing import Any

from task_queue import OarlockError, TaskQueueClient

BATCH = 100
SCHEMA = """
    CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, payload TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS outbox_identity (name TEXT NOT NULL);
"""


def identity(database: sqlite3.Connection) -> str:
    """A name of this database that no other one has."""
    with database:
        database.execute(
            "INSERT INTO outbox_identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM outbox_identity)", (str(uuid.uuid4()),))
    return str(database.execute("SELECT name FROM outbox_identity").fetchone()[0])


def relay(database: sqlite3.Connection, client: TaskQueueClient, name: str) -> int:
    """Sends the oldest rows in one batch. Returns how many the queue has now."""
    rows = database.execute("SELECT id, queue, payload FROM outbox ORDER BY id LIMIT ?", (BATCH,)).fetchall()
    commands: list[Any] = [
        {"enqueue": {"queue": queue, "payload": json.loads(payload), "dedupe_key": f"{name}-{row}"}}
        for row, queue, payload in rows
    ]
    results = client.batch(commands=commands)["results"] if rows else []
    sent = [(row,) for (row, _, _), result in zip(rows, results) if "ok" in result]
    for (row, _, _), result in zip(rows, results):
        if "ok" not in result:
            print(f"row {row} was refused and stays: {result['error']['message']}", file=sys.stderr)
    with database:
        database.executemany("DELETE FROM outbox WHERE id = ?", sent)
    return len(sent)


def main() -> None:
    database, client = sqlite3.connect(sys.argv[1]), TaskQueueClient(sys.argv[2].split(","), timeout=60)
    database.executescript(SCHEMA)
    name = identity(database)
    while True:
        try:
            sent = relay(database, client, name)
        except OarlockError as error:
            print(f"trying again: {error}", file=sys.stderr)
            sent = 0
        if sent == 0 and "--once" in sys.argv:
            break
        if sent < BATCH:
            time.sleep(0.5)  # SQLite does not tell other processes of a new row


main()
