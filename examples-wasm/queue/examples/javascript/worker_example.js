// Works on the tasks of a queue, four at once, until Ctrl-C: node worker_example.js 127.0.0.1:8101,127.0.0.1:8102 email

import { TaskQueueClient } from "./task_queue.js";
import { Dead, Worker } from "./worker.js";

const [endpoints, queue] = process.argv.slice(2);

async function send(task) {
  if (typeof task.payload?.to !== "string") {
    throw new Dead("a mail needs the field `to`"); // it would fail on each attempt
  }
  console.log(`task ${task.id}, attempt ${task.attempt}: mail to ${task.payload.to}`);
  return task.payload.to;
}

const worker = new Worker(new TaskQueueClient(endpoints.split(",")), [queue], send, { concurrency: 4 });
process.on("SIGINT", () => worker.stop());
await worker.run();
