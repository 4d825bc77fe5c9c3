// Prints the error of a client that does not trust the nodes, and of clients that would send a token without TLS.

import { KvClient } from "./kv.js";

declare const process: { argv: string[] };
const [endpoints = "", token = ""] = process.argv.slice(2);
const nodes = endpoints.split(",");

// It knows the public authorities only.
const client = new KvClient(nodes.map((one) => `https://${one}`), 1_500, { token });
try {
  await client.put({ key: "k", value: "untrusted" });
} catch (error) {
  console.log((error as Error).name, (error as Error).message);
}
for (const plain of [nodes, nodes.map((one) => `http://${one}`), [`https://${nodes[0]}`, nodes[1] ?? ""]]) {
  try {
    new KvClient(plain, 1_500, { token });
  } catch (error) {
    console.log((error as Error).name, (error as Error).message);
  }
}
