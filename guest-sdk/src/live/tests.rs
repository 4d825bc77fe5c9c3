use serde::{Deserialize, Serialize};

use super::*;
use crate::{Apply, MigrateError, OldState, Read, Refusal, StateMachine, state_machine};

/// Version 2 of `keeper`, as an SDK before format 2 wrote it.
const FORMAT_1: &[u8] = include_bytes!("../snapshot/testdata/format-1.bin");

macro_rules! keeper {
    ($name:ident, $version:literal, $($migrate:item)?) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            names: Vec<String>,
        }

        #[state_machine(name = "keeper", version = $version)]
        impl StateMachine for $name {
            type Command = ();
            type Reply = ();
            type Query = ();
            type Response = ();
            type Refusal = Refusal;

            fn apply(&mut self, _cx: &mut Apply<'_>, (): ()) -> Result<(), Refusal> {
                self.names.clear();
                Ok(())
            }

            fn query(&self, _cx: &Read<'_>, (): ()) -> Result<(), Refusal> {
                Ok(())
            }

            $($migrate)?
        }
    };
}
keeper!(Two, 2,);
keeper!(
    Three,
    3,
    fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
        old.decode()
    }
);

fn read<M: Guest>(bytes: &[u8]) -> LiveGuest<M> {
    let mut rest = bytes.to_vec();
    LiveGuest::read(2, &mut |_| std::mem::take(&mut rest)).unwrap()
}

fn written<M: Guest>(guest: &LiveGuest<M>) -> Vec<u8> {
    let mut bytes = Vec::new();
    guest
        .write(&mut |chunk| bytes.extend_from_slice(chunk))
        .unwrap();
    bytes
}

/// The format of a snapshot.
fn format(bytes: &[u8]) -> u8 {
    bytes[8]
}

#[test]
fn a_state_that_came_with_format_1_can_go_back() {
    let guest = read::<Two>(FORMAT_1);
    assert_eq!(written(&guest), FORMAT_1);
    assert_eq!(written(&read::<Two>(&written(&guest))), FORMAT_1);
}

#[test]
fn a_new_or_migrated_state_and_one_with_a_wake_time_have_format_2() {
    assert_eq!(format(&written(&LiveGuest::<Two>::default())), 2);
    let migrated = read::<Three>(FORMAT_1);
    assert_eq!(migrated.machine.names, ["oar", "lock"]);
    assert_eq!(format(&written(&migrated)), 2);
    let mut woken = read::<Two>(FORMAT_1);
    woken.runtime.clear_wake();
    let bytes = written(&woken);
    assert_eq!(format(&bytes), 2);
    assert_eq!(written(&read::<Two>(&bytes)), bytes);
}
