//! The expansion of the attribute: the unchanged impl, the impl of `Guest`, and the exports of a module.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Item, ItemImpl};

use crate::arguments::Arguments;

const WHERE: &str = "#[state_machine] belongs on `impl StateMachine for YourType { … }`";

/// The expansion, or an error that names the fix.
pub(crate) fn state_machine(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let item = implementation(item)?;
    let Arguments {
        name,
        version,
        codec,
        layout,
        schema,
    } = syn::parse2(arguments)?;
    let machine = &item.self_ty;
    Ok(quote! {
        #item

        impl ::oarlock_guest::Guest for #machine {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            const LAYOUT: ::core::option::Option<&'static str> = #layout;
            const SCHEMA: &'static str = #schema;
            type Codec = #codec;
        }

        #[cfg(target_family = "wasm")]
        ::oarlock_guest::__export_guest!(#machine);
    })
}

/// Checks that the item is an `impl StateMachine for X` without generic parameters.
fn implementation(item: TokenStream) -> syn::Result<ItemImpl> {
    let item = match syn::parse2::<Item>(item)? {
        Item::Impl(item) => item,
        other => return Err(not_an_impl(&other)),
    };
    let Some((path, _)) = &item.trait_ else {
        let message = format!("{WHERE}, not on inherent methods: name the trait");
        return Err(syn::Error::new_spanned(&item.self_ty, message));
    };
    if path
        .segments
        .last()
        .is_none_or(|last| last.ident != "StateMachine")
    {
        let message = format!("{WHERE}, not on an impl of `{}`", text(path));
        return Err(syn::Error::new_spanned(path, message));
    }
    if !item.generics.params.is_empty() {
        let message = "a guest's type has no generic parameters: a module contains exactly one state machine. \
                       Put the attribute on the impl for a concrete type";
        return Err(syn::Error::new_spanned(&item.generics, message));
    }
    Ok(item)
}

fn not_an_impl(item: &Item) -> syn::Error {
    let hint = match item {
        Item::Struct(it) => format!(
            ": move it from `struct {0}` to `impl StateMachine for {0}`",
            it.ident
        ),
        Item::Enum(it) => format!(
            ": move it from `enum {0}` to `impl StateMachine for {0}`",
            it.ident
        ),
        _ => String::new(),
    };
    syn::Error::new(Span::call_site(), format!("{WHERE}{hint}"))
}

fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string().replace(' ', "")
}

#[cfg(test)]
mod tests;
