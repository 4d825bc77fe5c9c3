// The exports of the world `service`, around the locks of `locks.js`.

import * as host from "oarlock:state-machine/host@0.1.0";

import { Locks } from "./locks.js";
import { guest } from "./oarlock.js";

export const { machine, queries, timers, about, layout } = guest(new Locks(), host, {
  name: "lock",
  version: 1,
  layout: "lock-js:1",
});
