// Prints the versions of the flags that change, until the version `last`.

import { FlagsClient } from "./flags.js";

declare const process: { argv: string[] };
const [endpoints = "", last = "0"] = process.argv.slice(2);

const client = new FlagsClient(endpoints.split(","), 120_000);
for await (const { topic, data, id } of client.events({ topic: "flag", after: "0.0" })) {
  if (topic !== "flag") throw new Error(topic);
  const { version } = JSON.parse(data) as { version: number };
  console.log(`${id} ${version}`);
  if (version === Number(last)) break;
}
