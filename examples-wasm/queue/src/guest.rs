//! The state machine of the built-in queue. A guest with a policy is built without it, because a module has one state machine.

use oarlock_guest::{
    Apply, MigrateError, OldState, Read, Refusal, StateMachine, Token, state_machine,
};

use crate::messages::{Command, Query, Reply, Response};
use crate::state::Queues;

#[state_machine(name = "task-queue", version = 2, schema = include_str!("schema.json"))]
impl StateMachine for Queues {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Response;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        let reply = self.execute(cx, command)?;
        for (token, reply) in self.take_completions() {
            cx.complete::<Self>(token, &reply);
        }
        Ok(reply)
    }

    fn query(&self, cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        self.evaluate(cx, query)
    }

    fn on_wake(&mut self, cx: &mut Apply<'_>) {
        self.handle_wake(cx);
        for (token, reply) in self.take_completions() {
            cx.complete::<Self>(token, &reply);
        }
    }

    fn on_deadline(&mut self, _cx: &mut Apply<'_>, token: Token) {
        self.handle_deadline(token);
    }

    fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
        Self::from_version_1(old)
    }
}
