"""The exports of the world `service`, around `StateMachine` of `state_machine.py`. There is nothing to change here."""

from componentize_py_types import Err
from wit_world.imports.streams import Sink, Source
from wit_world.imports.types import Batch, Description, Moment, Outcomes, Verdict

from messages import Refusal, decode, encode
from state_machine import StateMachine

CHUNK_BYTES = 1 << 20

state_machine = StateMachine()


class Machine:
    """The state machine. Every guest exports it."""

    def apply(self, at: Moment, commands: Batch) -> Outcomes:
        verdicts, data, ends = [], bytearray(), []
        start = 0
        for end in commands.ends:
            try:
                command = decode(commands.data[start:end], "command")
                data += encode(state_machine.apply(at, command))
                verdicts.append(Verdict.ACCEPTED)
            except Refusal as refusal:
                data += refusal.to_json()
                verdicts.append(Verdict.REJECTED)
            ends.append(len(data))
            start = end
        return Outcomes(verdicts, bytes(data), ends)

    def snapshot(self, to: Sink) -> None:
        state = state_machine.write()
        for start in range(0, len(state), CHUNK_BYTES):
            to.write(state[start : start + CHUNK_BYTES])

    def restore(self, written_by: int, from_: Source) -> None:
        state = bytearray()
        while chunk := from_.read(CHUNK_BYTES):
            state += chunk
        try:
            state_machine.read(written_by, bytes(state))
        except ValueError as error:
            raise Err(str(error)) from None


class Queries:
    """Queries. They change nothing and are not in the log."""

    def query(self, at: Moment, request: bytes) -> bytes:
        try:
            return encode(state_machine.query(at, decode(request, "query")))
        except Refusal as refusal:
            raise Err(refusal.to_json()) from None


class Timers:
    """Timers."""

    def wake(self, at: Moment) -> None:
        state_machine.wake(at)


class About:
    """The description of the guest."""

    def describe(self) -> Description:
        return Description(name=state_machine.name, version=state_machine.version, codec="json", schema="")
