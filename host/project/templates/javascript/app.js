// The exports of the world `service`, around `StateMachine` of `state-machine.js`.

import * as host from "oarlock:state-machine/host@0.1.0";

import { guest } from "./oarlock.js";
import * as own from "./state-machine.js";

// Change the layout whenever the bytes of `StateMachine.write` change their meaning, and raise the version then. Convert the
// state of older versions in `StateMachine.read`.
export const { machine, queries, timers, about, layout } = guest(new own.StateMachine(), host, {
  name: "{{name}}",
  version: 1,
  layout: "{{name}}-js:1",
  schema: own.SCHEMA,
});
