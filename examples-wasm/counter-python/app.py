"""The exports of the world `service`, around the counter of `counter.py`."""

from componentize_py_types import Err
from wit_world.imports.streams import Sink, Source
from wit_world.imports.types import Batch, Description, Moment, Outcomes, Verdict

from counter import Counter
from messages import Refusal, decode, encode

CHUNK_BYTES = 1 << 20

counter = Counter()


class Machine:
    """The state machine. Every guest exports it."""

    def apply(self, at: Moment, commands: Batch) -> Outcomes:
        verdicts, data, ends = [], bytearray(), []
        start = 0
        for end in commands.ends:
            try:
                command = decode(commands.data[start:end], "command")
                data += encode(counter.apply(command))
                verdicts.append(Verdict.ACCEPTED)
            except Refusal as refusal:
                data += refusal.to_json()
                verdicts.append(Verdict.REJECTED)
            ends.append(len(data))
            start = end
        return Outcomes(verdicts, bytes(data), ends)

    def snapshot(self, to: Sink) -> None:
        to.write(counter.write())

    def restore(self, written_by: int, from_: Source) -> None:
        state = bytearray()
        while chunk := from_.read(CHUNK_BYTES):
            state += chunk
        try:
            counter.read(bytes(state))
        except ValueError as error:
            raise Err(str(error)) from None


class Queries:
    """Queries. They change nothing and are not in the log."""

    def query(self, at: Moment, request: bytes) -> bytes:
        try:
            return encode(counter.query(decode(request, "query")))
        except Refusal as refusal:
            raise Err(refusal.to_json()) from None


class Timers:
    """Timers. A counter never requests a wake-up."""

    def wake(self, at: Moment) -> None:
        pass


class About:
    """The description of the guest."""

    def describe(self) -> Description:
        return Description(name="counter", version=1, codec="json", schema="")


class Layout:
    """The layout of the state. Change it together with the bytes of a snapshot, and raise the version."""

    def fingerprint(self) -> str:
        return "i64-little-endian"
