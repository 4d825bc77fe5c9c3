// A worker for the task queue, on top of the client that `oarlock client typescript` generates as task_queue.ts.

import { type Delivered, type Int64, OutcomeUnknown, Refused, TaskQueueClient, Unavailable } from "./task_queue.js";

/** Longest wait of one reserve, and what a worker that stops waits for. */
const WAIT_MS = 10_000;
/** A command is repeated with the same key for this time, for example over a failover. */
const TIMEOUT_MS = 120_000;

/** A handler throws it to make its task dead, whatever attempts are left. */
export class Dead extends Error {}

/** A task that a handler works on. */
export interface Task {
  readonly id: Int64;
  readonly queue: string;
  readonly attempt: number;
  readonly attributes: Record<string, string>;
  /** The JSON, or bytes. */
  readonly payload: unknown;
  /** Aborted when the task was cancelled, or delivered to another worker: the handler ends as soon as it can. */
  readonly lost: AbortSignal;
}

export interface WorkerOptions { concurrency?: number; leaseMs?: number; name?: string; }

/** Runs a handler for each task, several at once. What the handler returns is the result of the task. */
export class Worker {
  readonly #client: TaskQueueClient;
  readonly #queues: string[];
  readonly #handler: (task: Task) => Promise<unknown>;
  readonly #concurrency: number;
  readonly #leaseMs: number;
  readonly #name: string;
  #stopping = false;

  constructor(
    client: TaskQueueClient,
    queues: readonly string[],
    handler: (task: Task) => Promise<unknown>,
    options: WorkerOptions = {},
  ) {
    [this.#client, this.#queues, this.#handler] = [client, [...queues], handler];
    this.#concurrency = options.concurrency ?? 1;
    this.#leaseMs = options.leaseMs ?? 30_000;
    this.#name = options.name ?? `worker-${crypto.randomUUID()}`;
  }

  /** Takes no more tasks. `run` ends when the handlers have ended. */
  stop(): void {
    this.#stopping = true;
  }

  /** Works until `stop` is called. Throws what the queue refuses, for example a name that is too long. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: this.#concurrency }, () => this.#work()));
  }

  async #work(): Promise<void> {
    const wait_ms = Math.floor(Math.min(WAIT_MS, this.#leaseMs / 3));
    const request = { queues: this.#queues, worker: this.#name, lease_ms: this.#leaseMs, wait_ms };
    try {
      while (!this.#stopping) {
        const begun = Date.now();
        const reply = await available(this.#client.reserve(request, { timeoutMs: TIMEOUT_MS }));
        if (reply === undefined) {
          await new Promise((resolve) => setTimeout(resolve, 1_000));
        }
        for (const delivered of reply?.tasks ?? []) {
          const { id, token } = delivered;
          if (this.#stopping) {
            await settled(this.#client.release({ id, token }, { timeoutMs: TIMEOUT_MS }));
            // A reserve that took long may have used up much of the lease.
          } else if (Date.now() - begun < this.#leaseMs / 2 || (await this.#extend(delivered))) {
            await this.#process(delivered);
          }
        }
      }
    } finally {
      this.#stopping = true; // one that was refused stops the others
    }
  }

  async #process(delivered: Delivered): Promise<void> {
    const { id, token, queue, attempt, attributes = {}, payload, payload_base64 } = delivered;
    const lost = new AbortController();
    const extending = setInterval(async () => {
      if (!(await this.#extend(delivered))) {
        lost.abort();
      }
    }, this.#leaseMs / 3);
    const content = typeof payload_base64 === "string" ? fromBase64(payload_base64) : payload;
    const options = { timeoutMs: TIMEOUT_MS };
    try {
      const result = await this.#handler({ id, queue, attempt, attributes, payload: content, lost: lost.signal });
      await settled(this.#client.ack({ id, token, ...(result === undefined ? {} : { result }) }, options));
    } catch (error) {
      const reason = lost.signal.aborted ? "cancelled" : String(error).slice(0, 1_000);
      await settled(this.#client.nack({ id, token, error: reason, dead: error instanceof Dead }, options));
    } finally {
      clearInterval(extending);
    }
  }

  /** Extends a lease. False: the task was cancelled or is another worker's. */
  async #extend({ id, token }: Delivered): Promise<boolean> {
    try {
      const reply = await available(this.#client.extend({ id, token, lease_ms: this.#leaseMs }));
      return reply?.cancelled !== true; // without a leader no time passes in the queue
    } catch (error) {
      return !isLost(error);
    }
  }
}

const isLost = (error: unknown): boolean =>
  error instanceof Refused && (error.code === "stale_token" || error.code === "no_such_task");

/** The reply, or nothing if no node has an outcome. */
async function available<Reply>(reply: Promise<Reply>): Promise<Reply | undefined> {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof Unavailable || error instanceof OutcomeUnknown || (error instanceof Refused && error.code === "full")) {
      return undefined;
    }
    throw error;
  }
}

/** Waits for the end of a command. A task that is lost is another worker's. */
async function settled(reply: Promise<unknown>): Promise<void> {
  try {
    await available(reply);
  } catch (error) {
    if (!isLost(error)) {
      throw error;
    }
  }
}

const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
