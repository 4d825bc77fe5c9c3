"""The exports of the world `service`, around `StateMachine` of `state_machine.py`."""

import oarlock
import state_machine

# Change the layout whenever the bytes of `StateMachine.write` change their meaning, and raise the version then. Convert the
# state of older versions in `StateMachine.read`.
Machine, Queries, Timers, About, Layout = oarlock.exports(
    state_machine.StateMachine(),
    name="{{name}}",
    version=1,
    layout="{{name}}-python:1",
    schema=getattr(state_machine, "SCHEMA", ""),
)
