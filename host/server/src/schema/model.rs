//! The messages of a guest, independent of a language.

/// All messages of a guest, each list in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuestMessages {
    /// Name of the guest.
    pub(crate) title: String,
    pub(crate) commands: Vec<MessagePair>,
    pub(crate) queries: Vec<MessagePair>,
    /// Codes of the guest's refusals; may be empty.
    pub(crate) refusal_codes: Vec<String>,
    /// Types with names: those of `$defs`, and objects that have no name in the document.
    pub(crate) types: Vec<NamedType>,
}

/// A command with its reply, or a query with its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessagePair {
    /// The key of the message.
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) arguments: DataType,
    pub(crate) result: DataType,
}

/// A type with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedType {
    /// The name in the document, or one made of its place. May contain any characters, and is not unique.
    pub(crate) name: String,
    pub(crate) description: String,
    /// The only place of [`DataType::Object`].
    pub(crate) shape: DataType,
}

/// A type of JSON values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataType {
    /// Any JSON.
    Any,
    Null,
    Bool,
    Integer {
        /// It can exceed 2⁵³.
        is_wide: bool,
        is_signed: bool,
    },
    Number,
    Text,
    /// One of these texts; never empty.
    Literals(Vec<String>),
    List(Box<DataType>),
    Tuple(Vec<DataType>),
    /// An object with any keys.
    Map(Box<DataType>),
    Object(Vec<TypeField>),
    /// One of these types, at least two. [`DataType::Null`] is the last one.
    OneOf(Vec<DataType>),
    /// Position in [`GuestMessages::types`].
    Named(usize),
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypeField {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) data_type: DataType,
    /// False: it may be left out.
    pub(crate) is_required: bool,
}

impl GuestMessages {
    /// The fields of a type, if it is an object.
    pub(crate) fn fields<'a>(&'a self, of: &'a DataType) -> Option<&'a [TypeField]> {
        match of {
            DataType::Object(fields) => Some(fields),
            // Aliases do not refer to themselves.
            DataType::Named(at) => self.fields(&self.types.get(*at)?.shape),
            _ => None,
        }
    }
}

impl DataType {
    /// Whether it names the type at this position.
    pub(crate) fn uses(&self, position: usize) -> bool {
        match self {
            Self::Named(at) => *at == position,
            Self::List(item) | Self::Map(item) => item.uses(position),
            Self::Tuple(types) | Self::OneOf(types) => types.iter().any(|one| one.uses(position)),
            Self::Object(fields) => fields.iter().any(|field| field.data_type.uses(position)),
            _ => false,
        }
    }

    /// The type without null, and whether null was possible.
    pub(crate) fn without_null(&self) -> (Self, bool) {
        match self {
            Self::OneOf(types) if types.last() == Some(&Self::Null) => {
                let mut rest = types[..types.len() - 1].to_vec();
                let only = if rest.len() == 1 { rest.pop() } else { None };
                (only.unwrap_or(Self::OneOf(rest)), true)
            }
            other => (other.clone(), false),
        }
    }
}
