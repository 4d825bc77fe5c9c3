// Asks before each request whether a user may send it. Needs rate_limiter.ts:
// oarlock client typescript --schema dist/rate-limiter.wasm --out rate_limiter.ts

import { RateLimiterClient } from "./rate_limiter.js";

declare const process: { argv: string[] };
const [endpoints = "", user = ""] = process.argv.slice(2);

const limiter = new RateLimiterClient(endpoints.split(","));
await limiter.set({ limit: "api", burst: 3, tokens: 1, period_ms: 3_600_000 });
for (let request = 1; request <= 5; request += 1) {
  const { taken, limited } = await limiter.take({ limit: "api", key: user, tokens: 1 });
  if (taken) {
    console.log(`request ${request} of ${user}: served, ${taken.left} left`);
  } else {
    const minutes = Math.round(Number(limited?.retry_after_ms) / 60_000);
    console.log(`request ${request} of ${user}: too many, again in ${minutes} minutes`);
  }
}
