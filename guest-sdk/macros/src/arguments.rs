//! The arguments of the attribute: `name`, `version`, `codec`, `layout`, `schema`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, ExprLit, Ident, Lit, Token};

/// Longest name of a guest, in bytes. Tables show it, and every snapshot contains it.
const MAX_NAME_BYTES: usize = 64;

const EXAMPLE: &str = r#"#[state_machine(name = "counter", version = 1)]"#;
const KNOWN: &str = "`name`, `version`, `codec`, `layout`, `schema`";

/// The validated arguments of `#[state_machine(…)]`.
pub(crate) struct Arguments {
    pub(crate) name: String,
    pub(crate) version: u32,
    /// The type that implements `oarlock_guest::codec::Codec`.
    pub(crate) codec: TokenStream,
    /// An expression of type `Option<&'static str>`.
    pub(crate) layout: TokenStream,
    /// An expression of type `&'static str`.
    pub(crate) schema: TokenStream,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (mut name, mut version, mut codec) = (None, None, None);
        let (mut layout, mut schema) = (None, None);
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            let repeated = match key.to_string().as_str() {
                "name" => name.replace(value(&key, input)?).is_some(),
                "version" => version.replace(value(&key, input)?).is_some(),
                "codec" => codec.replace(value(&key, input)?).is_some(),
                "layout" => layout.replace(value(&key, input)?).is_some(),
                "schema" => schema.replace(value(&key, input)?).is_some(),
                other => {
                    let message =
                        format!("`{other}` is not an argument of state_machine: it takes {KNOWN}");
                    return Err(syn::Error::new(key.span(), message));
                }
            };
            if repeated {
                return Err(syn::Error::new(
                    key.span(),
                    format!("`{key}` is given twice: remove one of them"),
                ));
            }
            if input.is_empty() {
                break;
            }
            input.parse::<Token![,]>()?;
        }
        Ok(Self {
            name: checked_name(&required(
                "name",
                "a short, stable name of the guest",
                name,
            )?)?,
            version: checked_version(&required(
                "version",
                "an integer that you raise with each release",
                version,
            )?)?,
            codec: codec.map_or_else(
                || Ok(quote!(::oarlock_guest::codec::Json)),
                |it| codec_type(&it),
            )?,
            layout: match layout {
                Some(layout) => {
                    let layout = checked_layout(&layout)?;
                    quote!(::core::option::Option::Some(#layout))
                }
                None => quote!(::core::option::Option::None),
            },
            schema: schema.map_or_else(|| quote!(""), |it| quote!(#it)),
        })
    }
}

/// The `= value` after a key.
fn value(key: &Ident, input: ParseStream<'_>) -> syn::Result<Expr> {
    if input.parse::<Token![=]>().is_err() {
        let message = format!("`{key}` needs a value, as in {EXAMPLE}");
        return Err(syn::Error::new(key.span(), message));
    }
    let mut value: Expr = input.parse()?;
    // An expression from a macro_rules! macro is wrapped in a group.
    while let Expr::Group(group) = value {
        value = *group.expr;
    }
    Ok(value)
}

fn required(key: &str, what: &str, value: Option<Expr>) -> syn::Result<Expr> {
    value.ok_or_else(|| {
        let message = format!("state_machine needs `{key}`, {what}, as in {EXAMPLE}");
        syn::Error::new(Span::call_site(), message)
    })
}

fn checked_name(value: &Expr) -> syn::Result<String> {
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = value
    else {
        let message = r#"`name` is a string literal, as in name = "counter""#;
        return Err(syn::Error::new_spanned(value, message));
    };
    let name = text.value();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
        let message =
            format!("`name` is 1 to {MAX_NAME_BYTES} characters of a-z, 0-9 and -, not {name:?}");
        return Err(syn::Error::new(text.span(), message));
    }
    Ok(name)
}

fn checked_layout(value: &Expr) -> syn::Result<String> {
    let text = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => text.value(),
        _ => String::new(),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.chars().all(plain) {
        let message = format!(
            r#"`layout` is a string of 1 to {MAX_NAME_BYTES} characters of a-z, A-Z, 0-9, ., - and _, as in layout = "tree-1"; change it whenever the layout of the state changes"#
        );
        return Err(syn::Error::new_spanned(value, message));
    }
    Ok(text)
}

fn checked_version(value: &Expr) -> syn::Result<u32> {
    let number = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => number.base10_parse::<u32>().ok(),
        _ => None,
    };
    number.filter(|number| *number > 0).ok_or_else(|| {
        let message = format!(
            "`version` is an integer from 1 to {}, as in version = 1; a snapshot records the version that wrote it",
            u32::MAX
        );
        syn::Error::new_spanned(value, message)
    })
}

/// `"json"` and `"bytes"` are names; any other codec is the path of its type.
fn codec_type(value: &Expr) -> syn::Result<TokenStream> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => match text.value().as_str() {
            "json" => Ok(quote!(::oarlock_guest::codec::Json)),
            "bytes" => Ok(quote!(::oarlock_guest::codec::Bytes)),
            other => {
                let message = format!(
                    r#"there is no codec {other:?}: use "json", "bytes", or the path of a type that implements oarlock_guest::codec::Codec"#
                );
                Err(syn::Error::new(text.span(), message))
            }
        },
        Expr::Path(path) => Ok(quote!(#path)),
        other => {
            let message = r#"`codec` is "json", "bytes", or the path of a type that implements oarlock_guest::codec::Codec"#;
            Err(syn::Error::new_spanned(other, message))
        }
    }
}
