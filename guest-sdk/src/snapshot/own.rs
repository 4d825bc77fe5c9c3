//! What a guest of this program is called, and the layout of its state.

use std::any::TypeId;
use std::cell::RefCell;

use super::identity::GuestIdentity;
use crate::guest::Guest;
use crate::layout::{self, TraceError};

/// The identity of a guest.
pub(crate) fn own_identity<M: Guest>() -> GuestIdentity {
    GuestIdentity {
        name: Some(M::NAME.to_owned()),
        version: M::VERSION,
        layout: own_layout::<M>().ok(),
    }
}

/// The layout of a guest's state: the one that its attribute names, or the fingerprint of its type, which is derived once.
///
/// # Errors
///
/// The layout cannot be derived from the type.
pub(crate) fn own_layout<M: Guest>() -> Result<String, TraceError> {
    thread_local! {
        static KNOWN: RefCell<Vec<(TypeId, Result<String, TraceError>)>> = const { RefCell::new(Vec::new()) };
    }
    if let Some(given) = M::LAYOUT {
        return Ok(given.to_owned());
    }
    let id = TypeId::of::<M>();
    KNOWN.with_borrow_mut(|known| {
        if let Some((_, layout)) = known.iter().find(|(known, _)| *known == id) {
            return layout.clone();
        }
        let layout = layout::of::<M>().map(|layout| layout.to_string());
        known.push((id, layout.clone()));
        layout
    })
}
