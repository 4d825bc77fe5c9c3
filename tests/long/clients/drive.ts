// Uses the generated clients, as a program would. Exits with an error where a command was lost or applied twice.

import { CounterClient, Refused } from "./counter.js";
import { KvClient, Refused as KvRefused } from "./kv.js";
import { LockClient, Refused as LockRefused } from "./lock.js";
import { Refused as QueueRefused, TaskQueueClient } from "./task_queue.js";

declare const process: { argv: string[] };

const TIMEOUT_MS = 120_000;

function check(holds: boolean, what: unknown): void {
  if (!holds) {
    throw new Error(JSON.stringify(what));
  }
}

async function driveCounter(client: CounterClient, count: number): Promise<void> {
  for (let number = 0; number < count; number += 1) {
    await client.add({ by: 1 });
  }
  try {
    await client.add({ by: 9_223_372_036_854_775_807n });
    check(false, "the sum does not fit");
  } catch (error) {
    check(error instanceof Refused && error.code === "overflow" && error.field === "by", String(error));
  }
}

async function driveKv(client: KvClient, name: string, count: number): Promise<void> {
  for (let number = 0; number < count; number += 1) {
    const before = (await client.get({ key: name })).value;
    check(before === (number === 0 ? null : String(number)), [before, number]);
    const reply = await client.cas({ key: name, expect: before, value: String(number + 1) });
    check(reply.swapped && reply.current === String(number + 1), reply);
  }
  const text = 'é\u2028"\\ 12345678901234567890';
  check((await client.put({ key: `${name}-2`, value: text })).previous === null, "it is new");
  check((await client.delete({ key: `${name}-2` })).previous === text, "it is unchanged");
  try {
    await client.get({ key: "x".repeat(5000) });
    check(false, "the key is too long");
  } catch (error) {
    check(error instanceof KvRefused && error.code === "too_large", String(error));
  }
}

async function driveLock(client: LockClient, name: string, count: number): Promise<void> {
  let before = 0n;
  for (let number = 0; number < count; number += 1) {
    // Another owner each time: an acquire that was applied twice would wait for itself.
    const owner = `${name}-${number}`;
    const reply = await client.acquire({ lock: "l", owner, lease_ms: 3_600_000, wait_ms: 3_600_000 });
    const fence = BigInt(reply.granted?.fence ?? 0);
    check(fence > before, `${fence} after ${before}`);
    before = fence;
    await client.release({ lock: "l", fence });
  }
  try {
    await client.release({ lock: "l", fence: before });
    check(false, "it is released");
  } catch (error) {
    check(error instanceof LockRefused && error.code === "not_held" && error.field === "fence", String(error));
  }
}

async function driveQueue(client: TaskQueueClient, name: string, count: number): Promise<void> {
  const wide = 18_446_744_073_709_551_615n;
  for (let number = 0; number < count; number += 1) {
    const reply = await client.enqueue({ queue: name, payload: { number, wide }, delay_ms: 0 });
    check(!reply.duplicate, reply);
  }
  const done: number[] = [];
  while (done.length < count) {
    const { tasks } = await client.reserve({ queues: [name], worker: name, lease_ms: 3_600_000, max: 7 });
    check(tasks.length > 0, "a reserve that was applied twice has leased tasks that no reply contains");
    for (const task of tasks) {
      await client.ack({ id: task.id, token: task.token });
      const payload = task.payload as { number: number; wide: bigint };
      check(payload.wide === wide, String(payload.wide));
      done.push(payload.number);
    }
  }
  check(done.every((number, at) => number === at), done);
  try {
    await client.ack({ id: 0, token: "no" });
    check(false, "there is no such task");
  } catch (error) {
    check(error instanceof QueueRefused && error.code === "no_such_task", String(error));
  }
  const counts = (await client.stats()).queues[name];
  check(counts?.completed === count && counts.leased === 0 && counts.ready === 0, counts);
}

const [guest = "", endpoints = "", name = "", count = "0", token] = process.argv.slice(2);
const nodes = endpoints.split(",");
if (guest === "counter") {
  await driveCounter(new CounterClient(nodes, TIMEOUT_MS), Number(count));
} else if (guest === "kv") {
  await driveKv(new KvClient(nodes, TIMEOUT_MS, token === undefined ? {} : { token }), name, Number(count));
} else if (guest === "lock") {
  await driveLock(new LockClient(nodes, TIMEOUT_MS), name, Number(count));
} else {
  await driveQueue(new TaskQueueClient(nodes, TIMEOUT_MS), name, Number(count));
}
