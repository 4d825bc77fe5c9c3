// Keeps the flags of an application current, and prints each change. Needs flags.ts:
// oarlock client typescript --schema dist/flags.wasm --out flags.ts

import { FlagsClient, type Rule } from "./flags.js";

declare const process: { argv: string[] };
const [endpoints = "", last = ""] = process.argv.slice(2);

const client = new FlagsClient(endpoints.split(","));
let { version, flags } = await client.all();
console.log(`version ${version}: ${Object.keys(flags).join(" ")}`);
// From the first event that a node stores, so that no change between the query and the stream is missed.
for await (const { topic, data } of client.events({ after: "0.0" })) {
  if (topic === "oarlock.gap") {
    ({ version, flags } = await client.all());
    console.log(`version ${version}: ${Object.keys(flags).join(" ")}`);
  }
  if (topic !== "flag") continue;
  const change = JSON.parse(data) as { version: number; flag: string; rule: Rule | null };
  if (change.version <= version) continue;
  version = change.version;
  if (change.rule) flags[change.flag] = { rule: change.rule, version };
  else delete flags[change.flag];
  console.log(`version ${version}: ${change.flag} is ${change.rule?.enabled ? `on for ${change.rule.percent} %` : "off"}`);
  if (change.flag === last) break;
}
