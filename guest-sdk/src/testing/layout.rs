//! The layout of a guest's state, for a test that pins it.

use crate::guest::Guest;
use crate::snapshot::own_layout;

/// The fingerprint of the layout of the state: names, order and types of its fields and variants. Pin it in a test, so that
/// a change of the layout without a new version fails the test:
///
/// ```
/// # use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Counter { value: i64 }
/// # #[state_machine(name = "counter", version = 1)]
/// # impl StateMachine for Counter {
/// #     type Command = i64; type Reply = i64; type Query = (); type Response = i64; type Refusal = Refusal;
/// #     fn apply(&mut self, _: &mut Apply<'_>, by: i64) -> Result<i64, Refusal> { self.value += by; Ok(self.value) }
/// #     fn query(&self, _: &Read<'_>, _: ()) -> Result<i64, Refusal> { Ok(self.value) }
/// # }
/// assert_eq!(
///     oarlock_guest::testing::layout::<Counter>(),
///     "serde1:abf49ab2-a49cf1f34aa3aff3",
///     "the layout of the state changed: raise `version`, write `migrate`, and then change this text"
/// );
/// ```
///
/// # Panics
///
/// The layout cannot be derived from the type. The message tells why, and what to do.
pub fn layout<M: Guest>() -> String {
    own_layout::<M>().unwrap_or_else(|why| {
        panic!(
            "the layout of the state of {name} cannot be derived from its type: {why}; name it by hand, as in \
             #[state_machine(name = {name:?}, version = {version}, layout = \"{name}-{version}\")], and change that name \
             whenever the type of the state changes",
            name = M::NAME,
            version = M::VERSION,
        )
    })
}
