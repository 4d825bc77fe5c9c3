//! The `#[state_machine]` attribute. Its documentation is at its re-export,
//! `oarlock_guest::state_machine`; depend on `oarlock-guest`, not on this crate.

mod arguments;
mod expand;

use proc_macro::TokenStream;

/// Makes an `impl StateMachine for X` a guest. See `oarlock_guest::state_machine`.
#[proc_macro_attribute]
pub fn state_machine(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::state_machine(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
