//! A deserializer without input, which notes what a type asks for.

use std::any::TypeId;
use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::graph::{Form, Graph, Kind, Limit, Names};

/// Why a layout cannot be derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TraceError {
    /// The type refuses a made-up value. In a module there is no text.
    Refused(String),
    /// The type needs an encoding that describes itself.
    NotSupported,
    /// The type needs more steps or a longer text than the limits allow.
    TooLarge,
    /// No made-up value of a recursive type ends.
    Endless,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "a type in it refuses made-up values ({why})"),
            Self::NotSupported => f.write_str(
                "a type in it needs an encoding that describes itself (`serde_json::Value`, `untagged`, `tag`, `flatten`), so its snapshots cannot be read",
            ),
            Self::TooLarge => f.write_str("it has too many types"),
            Self::Endless => f.write_str("no made-up value of a recursive type in it ends"),
        }
    }
}

impl std::error::Error for TraceError {}

impl de::Error for TraceError {
    #[cfg(not(target_family = "wasm"))]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Refused(message.to_string())
    }

    #[cfg(target_family = "wasm")]
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self::Refused(String::new())
    }
}

impl From<Limit> for TraceError {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Steps => Self::TooLarge,
            Limit::Endless => Self::Endless,
        }
    }
}

/// Made-up values, tried in this order until a type accepts one.
const NUMBERS: [u8; 2] = [1, 0];
const CHARS: [char; 1] = ['a'];
const TEXTS: [&str; 5] = ["0", "a", "", "127.0.0.1:80", "2000-01-01T00:00:00Z"];
/// With so many values skipped, each text was tried with each number.
const MAX_SKIPPED: usize = NUMBERS.len() * TEXTS.len();
const BYTES: [&[u8]; 4] = [&[], &[0], &[0; 16], &[0; 32]];

/// Explores a type with all types in it.
///
/// # Errors
///
/// See [`TraceError`].
pub(super) fn explore<T: DeserializeOwned>() -> Result<Graph, TraceError> {
    let mut tracer = Tracer::default();
    loop {
        tracer.graph.begin_pass();
        match T::deserialize(&mut tracer) {
            Ok(_) if tracer.graph.is_complete() => return Ok(tracer.graph),
            Ok(_) => {}
            Err(error) => tracer.try_again(error)?,
        }
    }
}

#[derive(Default)]
struct Tracer {
    graph: Graph,
    choosy: Vec<Choosy>,
    /// Made-up values to skip, because a type around them refused the first ones. Not for types in `choosy`.
    skipped: usize,
    /// The pass failed, and the next one has another choice.
    has_another_choice: bool,
}

impl Tracer {
    /// After a failed pass: begins again with other values, if there are some.
    fn try_again(&mut self, error: TraceError) -> Result<(), TraceError> {
        if !matches!(error, TraceError::Refused(_)) {
            return Err(error);
        }
        if !std::mem::take(&mut self.has_another_choice) {
            self.skipped += 1;
            if self.skipped == MAX_SKIPPED {
                return Err(error);
            }
        }
        self.graph.forget();
        Ok(())
    }

    /// Notes a value without parts. Returns the number of the made-up value to use.
    fn leaf(&mut self, name: &'static str, id: TypeId) -> Result<usize, TraceError> {
        self.graph.leaf(name)?;
        let choosy = self.choosy.iter().find(|choosy| choosy.id == id);
        Ok(choosy.map_or(self.skipped, |choosy| choosy.next))
    }

    /// The type refused this one of `count` made-up values.
    fn leaf_was_refused(&mut self, id: TypeId, number: usize, count: usize) {
        let next = (number + 1) % count;
        let choosy = self.choosy.iter_mut().find(|choosy| choosy.id == id);
        let refused = match choosy {
            Some(choosy) => {
                choosy.next = next;
                choosy.refused += 1;
                choosy.refused
            }
            None => {
                let refused = 1;
                self.choosy.push(Choosy { id, next, refused });
                refused
            }
        };
        self.has_another_choice |= refused < count;
    }
}

/// A type without parts that has refused made-up values.
struct Choosy {
    /// Its visitor.
    id: TypeId,
    /// The value to try next.
    next: usize,
    refused: usize,
}

/// One method for a value without parts: its name in the text, how it is given, and the values.
macro_rules! leaf {
    ($method:ident, $visit:ident, $name:literal, $values:expr) => {
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
            let id = typeid::of::<V>();
            let number = self.leaf($name, id)?;
            let values = $values;
            let given = visitor.$visit(values[number % values.len()].into());
            if given.is_err() {
                self.leaf_was_refused(id, number % values.len(), values.len());
            }
            given
        }
    };
}

impl<'de> de::Deserializer<'de> for &mut Tracer {
    type Error = TraceError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, TraceError> {
        Err(TraceError::NotSupported)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, TraceError> {
        Err(TraceError::NotSupported)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, TraceError> {
        Err(TraceError::NotSupported)
    }

    leaf!(deserialize_bool, visit_bool, "bool", [false, true]);
    leaf!(deserialize_i8, visit_i8, "i8", [1_i8, 0]);
    leaf!(deserialize_i16, visit_i16, "i16", NUMBERS);
    leaf!(deserialize_i32, visit_i32, "i32", NUMBERS);
    leaf!(deserialize_i64, visit_i64, "i64", NUMBERS);
    leaf!(deserialize_i128, visit_i128, "i128", NUMBERS);
    leaf!(deserialize_u8, visit_u8, "u8", NUMBERS);
    leaf!(deserialize_u16, visit_u16, "u16", NUMBERS);
    leaf!(deserialize_u32, visit_u32, "u32", NUMBERS);
    leaf!(deserialize_u64, visit_u64, "u64", NUMBERS);
    leaf!(deserialize_u128, visit_u128, "u128", NUMBERS);
    leaf!(deserialize_f32, visit_f32, "f32", NUMBERS);
    leaf!(deserialize_f64, visit_f64, "f64", NUMBERS);
    leaf!(deserialize_char, visit_char, "char", CHARS);
    leaf!(deserialize_str, visit_str, "string", TEXTS);
    leaf!(deserialize_string, visit_str, "string", TEXTS);
    leaf!(deserialize_bytes, visit_bytes, "bytes", BYTES);
    leaf!(deserialize_byte_buf, visit_bytes, "bytes", BYTES);

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        self.graph.leaf("unit")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        let choice = self.graph.enter(typeid::of::<V>(), Kind::Option)?;
        let value = if choice.full {
            visitor.visit_some(&mut *self)?
        } else {
            visitor.visit_none::<TraceError>()?
        };
        self.graph.leave();
        Ok(value)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        let choice = self.graph.enter(typeid::of::<V>(), Kind::Seq)?;
        let value = visitor.visit_seq(Parts::new(self, choice.full.into()))?;
        self.graph.leave();
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceError> {
        let choice = self.graph.enter(typeid::of::<V>(), Kind::Map)?;
        let value = visitor.visit_map(Parts::new(self, choice.full.into()))?;
        self.graph.leave();
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.graph.enter(typeid::of::<V>(), Kind::Tuple(length))?;
        let value = visitor.visit_seq(Parts::new(self, length))?;
        self.graph.leave();
        Ok(value)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.graph.enter(typeid::of::<V>(), Kind::Struct(fields))?;
        let value = visitor.visit_seq(Parts::new(self, fields.len()))?;
        self.graph.leave();
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: Names,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        let kind = Kind::Enum(variants);
        let choice = self.graph.enter(typeid::of::<V>(), kind)?;
        let value = visitor.visit_enum(Chosen {
            tracer: &mut *self,
            variant: choice.variant,
        })?;
        self.graph.leave();
        Ok(value)
    }
}

/// The parts of one value: elements, fields, or the key and value of one entry.
struct Parts<'a> {
    tracer: &'a mut Tracer,
    left: usize,
}

impl<'a> Parts<'a> {
    fn new(tracer: &'a mut Tracer, left: usize) -> Self {
        Self { tracer, left }
    }
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = TraceError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, TraceError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.tracer).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = TraceError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, TraceError> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, TraceError> {
        seed.deserialize(&mut *self.tracer)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A variant of an enum.
struct Chosen<'a> {
    tracer: &'a mut Tracer,
    variant: usize,
}

impl<'a, 'de> EnumAccess<'de> for Chosen<'a> {
    type Error = TraceError;
    type Variant = &'a mut Tracer;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), TraceError> {
        let number = self.variant as u32;
        let found: Result<_, TraceError> = seed.deserialize(number.into_deserializer());
        if found.is_err() && self.variant > 0 {
            self.tracer.graph.limit_variants(self.variant);
            self.tracer.has_another_choice = true;
        }
        Ok((found?, self.tracer))
    }
}

impl<'de> VariantAccess<'de> for &mut Tracer {
    type Error = TraceError;

    fn unit_variant(self) -> Result<(), TraceError> {
        self.graph.set_form(Form::Unit);
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, TraceError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        visitor.visit_seq(Parts::new(self, length))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: Names,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.graph.set_form(Form::Struct(fields));
        visitor.visit_seq(Parts::new(self, fields.len()))
    }
}
