//! A guest with a policy.

/// The schema of commands, queries, replies and responses, for `schema = …` of a guest with a policy.
pub const SCHEMA: &str = include_str!("schema.json");

/// Makes the task queue with a policy the state machine of a module: the type `Guest`.
///
/// ```
/// use oarlock_queue::policy::Policy;
///
/// /// The rules.
/// #[derive(Debug)]
/// pub struct Rules;
///
/// impl Policy for Rules {}
///
/// oarlock_queue::policy_guest!(name = "ruled-queue", version = 1, policy = Rules);
/// # fn main() {}
/// ```
///
/// The crate needs the dependencies `oarlock-guest`, `oarlock-queue` without its default features, and `serde`. The guest takes
/// over the state of the built-in queue, and of a guest with other rules: `oarlock upgrade --replace-machine`.
#[macro_export]
macro_rules! policy_guest {
    (name = $name:literal, version = $version:literal, policy = $policy:ty $(,)?) => {
        /// The task queue with the rules of this project.
        #[allow(unreachable_pub, reason = "tests have it in a module of their own")]
        #[derive(Debug, Default, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(transparent)]
        pub struct Guest($crate::Queues<$policy>);

        #[::oarlock_guest::state_machine(name = $name, version = $version, schema = $crate::SCHEMA)]
        impl ::oarlock_guest::StateMachine for Guest {
            type Command = $crate::messages::Command;
            type Reply = $crate::messages::Reply;
            type Query = $crate::messages::Query;
            type Response = $crate::messages::Response;
            type Refusal = ::oarlock_guest::Refusal;

            fn apply(
                &mut self,
                cx: &mut ::oarlock_guest::Apply<'_>,
                command: Self::Command,
            ) -> Result<Self::Reply, Self::Refusal> {
                let reply = self.0.execute(cx, command)?;
                for (token, reply) in self.0.take_completions() {
                    cx.complete::<Self>(token, &reply);
                }
                Ok(reply)
            }

            fn query(
                &self,
                cx: &::oarlock_guest::Read<'_>,
                query: Self::Query,
            ) -> Result<Self::Response, Self::Refusal> {
                self.0.evaluate(cx, query)
            }

            fn on_wake(&mut self, cx: &mut ::oarlock_guest::Apply<'_>) {
                self.0.handle_wake(cx);
                for (token, reply) in self.0.take_completions() {
                    cx.complete::<Self>(token, &reply);
                }
            }

            fn on_deadline(
                &mut self,
                _cx: &mut ::oarlock_guest::Apply<'_>,
                token: ::oarlock_guest::Token,
            ) {
                self.0.handle_deadline(token);
            }

            fn migrate(
                old: ::oarlock_guest::OldState<'_>,
            ) -> Result<Self, ::oarlock_guest::MigrateError> {
                $crate::Queues::take_over(old).map(Self)
            }
        }
    };
}
