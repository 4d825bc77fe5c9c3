//! The place of an error in a message: which value the decoder had reached.

use serde::Deserializer;
use serde::de::value::Error;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// Deepest part of a path that is named. What lies deeper is part of the value there.
const MAX_DEPTH: usize = 64;

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

/// The value that a decoder had reached.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorPlace {
    pub(super) path: Vec<Step>,
    /// Whether it had read the name of a field, and not its value.
    pub(super) is_at_name: bool,
}

/// An object or a list that is not closed.
enum Open {
    Object { name: Option<String>, value: bool },
    List(usize),
}

/// The place of an error of `serde_json`, from its position. The message is valid JSON before it.
///
/// A second decoder with `serde_path_to_error` would find the same place, and double the code of each guest.
pub(super) fn place_of(bytes: &[u8], error: &serde_json::Error) -> ErrorPlace {
    let line = error.line().saturating_sub(1);
    let start = match line {
        0 => 0,
        _ => bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(line - 1)
            .map_or(bytes.len(), |(at, _)| at + 1),
    };
    let end = start.saturating_add(error.column()).min(bytes.len());
    let mut scan = Scan::default();
    scan.read(&bytes[..end]);
    scan.place()
}

#[derive(Default)]
struct Scan {
    open: Vec<Open>,
    /// Objects and lists that are open below [`MAX_DEPTH`].
    deeper: usize,
    is_at_name: bool,
}

impl Scan {
    fn read(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let mut next = at + 1;
            match byte {
                b'"' => {
                    next = end_of_text(bytes, at);
                    self.text(&bytes[at..next]);
                }
                b'{' => self.begin(Open::Object {
                    name: None,
                    value: false,
                }),
                b'[' => self.begin(Open::List(0)),
                b'}' | b']' if self.deeper > 0 => self.deeper -= 1,
                b'}' | b']' => {
                    self.open.pop();
                    self.is_at_name = false;
                }
                b':' => self.is_at_name = false,
                b',' if self.deeper == 0 => match self.open.last_mut() {
                    Some(Open::List(index)) => *index += 1,
                    Some(Open::Object { name, value }) => (*name, *value) = (None, false),
                    None => {}
                },
                _ => {}
            }
            at = next;
        }
    }

    fn begin(&mut self, open: Open) {
        if self.open.len() < MAX_DEPTH {
            self.open.push(open);
        } else {
            self.deeper += 1;
        }
    }

    /// A text in quotes: the name of a field, or a value.
    fn text(&mut self, quoted: &[u8]) {
        self.is_at_name = false;
        if self.deeper == 0
            && let Some(Open::Object { name, value }) = self.open.last_mut()
            && !*value
        {
            (*name, *value) = (Some(unquoted(quoted)), true);
            self.is_at_name = true;
        }
    }

    fn place(self) -> ErrorPlace {
        let step = |open| match open {
            Open::Object { name, .. } => name.map(Step::Name),
            Open::List(index) => Some(Step::Index(index)),
        };
        ErrorPlace {
            path: self.open.into_iter().filter_map(step).collect(),
            is_at_name: self.is_at_name,
        }
    }
}

/// The position after a text that begins with a quote at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

pub(super) fn unquoted(quoted: &[u8]) -> String {
    serde_json::from_slice(quoted).unwrap_or_else(|_| String::from_utf8_lossy(quoted).into_owned())
}

/// Whether a type is an enum whose variants are names of objects.
pub(super) fn is_enum<T: DeserializeOwned>() -> bool {
    let mut probe = Probe { is_enum: false };
    // It has no value to give: every request is an error.
    let _ = T::deserialize(&mut probe);
    probe.is_enum
}

/// Notes what a type asks for first.
struct Probe {
    is_enum: bool,
}

impl<'de> Deserializer<'de> for &mut Probe {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no value"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.is_enum = true;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
