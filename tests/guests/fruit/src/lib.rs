//! Guests whose states could be taken for each other: two numbers of the same type. A native build contains all of them, a
//! module the one of its feature.
//!
//! | guest | name and version | state | feature |
//! |---|---|---|---|
//! | [`apples`] | `apples` 1 | apples, then pears | none |
//! | [`swapped`] | `apples` 1, a forgotten version | pears, then apples | `swapped` |
//! | [`widened`] | `apples` 1, a forgotten version | apples, pears, plums | `widened` |
//! | [`foreign`] | `apples` 1, as if it was written in another language | apples, then pears, with a layout of its own | `foreign` |
//! | [`pears`] | `pears` 1, which takes over the state of `apples` | pears, then apples | `pears` |
//!
//! The command `a` adds an apple, and `p` a pear. Reply and response are `APPLES apples, PEARS pears`.

/// A guest: the order of its fields, perhaps with one that was added later, its arguments, and its `migrate`.
macro_rules! fruit {
    ($(#[$doc:meta])* $first:ident, $second:ident $(+ $added:ident)?, ($($arguments:tt)*), $($migrate:item)?) => {
        use oarlock_guest::{Apply, Read, StateMachine, state_machine};
        use serde::{Deserialize, Serialize};

        $(#[$doc])*
        #[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Fruit {
            $first: u64,
            $second: u64,
            $($added: u64,)?
        }

        impl Fruit {
            fn count(&self) -> Vec<u8> {
                format!("{} apples, {} pears", self.apples, self.pears).into_bytes()
            }
        }

        #[state_machine(codec = "bytes", $($arguments)*)]
        impl StateMachine for Fruit {
            type Command = Vec<u8>;
            type Reply = Vec<u8>;
            type Query = Vec<u8>;
            type Response = Vec<u8>;
            type Refusal = Vec<u8>;

            fn apply(&mut self, _cx: &mut Apply<'_>, command: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
                let fruit = match command.as_slice() {
                    b"a" => &mut self.apples,
                    b"p" => &mut self.pears,
                    _ => return Err(b"send a or p".to_vec()),
                };
                *fruit = fruit.saturating_add(1);
                Ok(self.count())
            }

            fn query(&self, _cx: &Read<'_>, _query: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
                Ok(self.count())
            }

            $($migrate)?
        }
    };
}

#[cfg(any(
    not(target_family = "wasm"),
    not(any(
        feature = "swapped",
        feature = "widened",
        feature = "pears",
        feature = "foreign"
    ))
))]
pub mod apples {
    //! The first guest.
    fruit!(
        /// Apples, then pears.
        apples, pears, (name = "apples", version = 1),
    );
}

#[cfg(any(not(target_family = "wasm"), feature = "swapped"))]
pub mod swapped {
    //! The same name and version, and the fields in another order.
    fruit!(
        /// Pears, then apples.
        pears, apples, (name = "apples", version = 1),
    );
}

#[cfg(any(not(target_family = "wasm"), feature = "widened"))]
pub mod widened {
    //! The same name and version, and a third field.
    fruit!(
        /// Apples, then pears, then plums, which no command adds.
        apples, pears + plums, (name = "apples", version = 1),
    );
}

#[cfg(any(not(target_family = "wasm"), feature = "foreign"))]
pub mod foreign {
    //! The same name and version, with a layout of its own.
    fruit!(
        /// Apples, then pears.
        apples, pears, (name = "apples", version = 1, layout = "two-numbers"),
    );
}

#[cfg(any(not(target_family = "wasm"), feature = "pears"))]
pub mod pears {
    //! Another name, and a `migrate` that reads the state of `apples`.
    use oarlock_guest::{MigrateError, OldState};

    /// The state of `apples`.
    #[derive(serde::Deserialize)]
    struct Apples {
        apples: u64,
        pears: u64,
    }

    fruit!(
        /// Pears, then apples.
        pears, apples, (name = "pears", version = 1),
        fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
            if old.name() != Some("apples") {
                let message = "pears take over the state of apples only";
                return Err(MigrateError::Refused(message.to_owned()));
            }
            let Apples { apples, pears } = old.decode()?;
            Ok(Self { pears, apples })
        }
    );
}

#[cfg(test)]
mod tests;
