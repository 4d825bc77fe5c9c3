//! The text of a layout, and its fingerprint.

use std::fmt;

use super::graph::{Form, Graph, Kind, Names, Place, Type, Variant};
use super::trace::TraceError;

/// Version of the text. Fingerprints of two versions are not compared. Raise it whenever a text changes.
const SCHEME: &str = "serde1";

/// Longest text, in bytes. A type that occurs twice is written twice.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The fingerprint of a layout: `serde1:` and two hashes, of the types alone and of names and types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    types: u32,
    all: u64,
}

impl Fingerprint {
    /// Reads a fingerprint. `None` if it was not derived from a type, or by another version of this code.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hashes = text.strip_prefix(SCHEME)?.strip_prefix(':')?;
        let (types, all) = hashes.split_once('-')?;
        Some(Self {
            types: u32::from_str_radix(types, 16).ok()?,
            all: u64::from_str_radix(all, 16).ok()?,
        })
    }

    /// Whether the types are equal, whatever the names are.
    pub(crate) fn has_types_of(&self, other: &Self) -> bool {
        self.types == other.types
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}:{:08x}-{:016x}", self.types, self.all)
    }
}

impl Graph {
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, TraceError> {
        let (mut types, mut all) = (Hash::new(), Hash::new());
        self.write(false, &mut |text| types.add(text))?;
        self.write(true, &mut |text| all.add(text))?;
        Ok(Fingerprint {
            types: (types.0 ^ (types.0 >> 32)) as u32,
            all: all.0,
        })
    }

    /// Writes the text, with the names of fields and variants or without.
    pub(super) fn write(&self, names: bool, to: &mut dyn FnMut(&str)) -> Result<(), TraceError> {
        let mut text = Text {
            graph: self,
            names,
            to,
            left: MAX_TEXT_BYTES,
            current: Vec::new(),
        };
        self.root.map_or(Ok(()), |root| text.place(root))
    }
}

struct Text<'a> {
    graph: &'a Graph,
    names: bool,
    to: &'a mut dyn FnMut(&str),
    left: usize,
    /// The types around the current place, outermost first.
    current: Vec<usize>,
}

impl Text<'_> {
    fn add(&mut self, text: &str) -> Result<(), TraceError> {
        self.left = self
            .left
            .checked_sub(text.len())
            .ok_or(TraceError::TooLarge)?;
        (self.to)(text);
        Ok(())
    }

    fn place(&mut self, place: Place) -> Result<(), TraceError> {
        let number = match place {
            Place::Leaf(name) => return self.add(name),
            Place::Type(number) => number,
        };
        // A recursive type: how many types further out it begins.
        if let Some(at) = self.current.iter().position(|current| *current == number) {
            return self.add(&format!("^{}", self.current.len() - at));
        }
        self.current.push(number);
        let graph = self.graph;
        self.type_with_parts(&graph.types[number])?;
        self.current.pop();
        Ok(())
    }

    fn type_with_parts(&mut self, found: &Type) -> Result<(), TraceError> {
        let Some(first) = found.variants.first() else {
            return self.add("never");
        };
        match found.kind {
            Kind::Option => self.list("option<", &[], &first.parts, ">"),
            Kind::Seq => self.list("[", &[], &first.parts, "]"),
            Kind::Map => self.list("map<", &[], &first.parts, ">"),
            Kind::Tuple(_) => self.list("(", &[], &first.parts, ")"),
            Kind::Struct(names) => self.list("{", names, &first.parts, "}"),
            Kind::Enum(names) => self.variants(names, &found.variants),
        }
    }

    fn variants(&mut self, names: Names, variants: &[Variant]) -> Result<(), TraceError> {
        self.add("<")?;
        self.extra_names(names, variants.len())?;
        for (number, variant) in variants.iter().enumerate() {
            if number > 0 {
                self.add(",")?;
            }
            if self.names && names.len() == variants.len() {
                self.add(names[number])?;
            }
            match variant.form {
                Form::Unit => self.add("!")?,
                Form::Tuple => self.list("(", &[], &variant.parts, ")")?,
                Form::Struct(names) => self.list("{", names, &variant.parts, "}")?,
            }
        }
        self.add(">")
    }

    /// The parts, each with its name. Equal parts in a row without names are counted: an array may be long.
    fn list(
        &mut self,
        begin: &str,
        names: Names,
        parts: &[Place],
        end: &str,
    ) -> Result<(), TraceError> {
        self.add(begin)?;
        self.extra_names(names, parts.len())?;
        let named = self.names && !names.is_empty() && names.len() == parts.len();
        let mut at = 0;
        while at < parts.len() {
            if at > 0 {
                self.add(",")?;
            }
            if named {
                self.add(names[at])?;
                self.add(":")?;
            }
            self.place(parts[at])?;
            let equal = parts[at..].iter().take_while(|part| **part == parts[at]);
            let repeated = if named { 1 } else { equal.count() };
            if repeated > 1 {
                self.add(&format!("*{repeated}"))?;
            }
            at += repeated;
        }
        self.add(end)
    }

    /// All names together, if some part has several (`#[serde(alias)]`): then it is unknown which name is whose.
    fn extra_names(&mut self, names: Names, parts: usize) -> Result<(), TraceError> {
        if self.names && names.len() != parts {
            for name in names {
                self.add(name)?;
                self.add("|")?;
            }
        }
        Ok(())
    }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
