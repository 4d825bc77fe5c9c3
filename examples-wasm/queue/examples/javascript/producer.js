// Adds tasks to a queue: node producer.js 127.0.0.1:8101,127.0.0.1:8102 email 10

import { Refused, TaskQueueClient } from "./task_queue.js";

const [endpoints, queue, count] = process.argv.slice(2);
const client = new TaskQueueClient(endpoints.split(","), 30_000);

for (let number = 1; number <= Number(count); number += 1) {
  try {
    const added = await client.enqueue({
      queue,
      payload: { to: `user${number}@example.org` },
      dedupe_key: `welcome-${number}`, // a second run adds nothing
    });
    console.log(`task ${added.id}, duplicate: ${added.duplicate}`);
  } catch (error) {
    if (error instanceof Refused && error.code === "full") {
      console.error(`the queue is full: ${error.message}`);
      process.exit(1);
    }
    throw error;
  }
}
