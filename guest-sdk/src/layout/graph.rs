//! The types found so far, and what to explore next.
//!
//! A value of an enum shows one variant, so a type is explored in passes. Each pass deserializes the root once and takes,
//! where it can, a variant that no pass has taken. A type that is complete is passed through at most once per pass, and
//! only if an incomplete type is below it. Everything else gets the smallest value, which ends recursive types.

use std::any::TypeId;

/// What was asked for at one place of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A value without parts, for example `u64`.
    Leaf(&'static str),
    /// A type with parts, by its number.
    Type(usize),
}

/// A type with parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Option,
    Seq,
    Map,
    Tuple(usize),
    Struct(Names),
    Enum(Names),
}

pub(super) type Names = &'static [&'static str];

/// The form of a variant. A type that is not an enum has one variant, of the form `Tuple`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Unit,
    Tuple,
    Struct(Names),
}

#[derive(Debug)]
pub(super) struct Variant {
    pub(super) form: Form,
    pub(super) parts: Vec<Place>,
    explored: bool,
}

#[derive(Debug)]
pub(super) struct Type {
    /// Type of the visitor, which is another one for each type.
    id: TypeId,
    pub(super) kind: Kind,
    pub(super) variants: Vec<Variant>,
    /// It was passed through in this pass.
    walked: bool,
    /// Steps to the next incomplete type, at the begin of the pass.
    distance: Option<usize>,
}

impl Type {
    fn is_complete(&self) -> bool {
        self.variants.iter().all(|variant| variant.explored)
    }
}

/// How the current place is explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// What is asked for is noted in this variant.
    Record { of: usize, variant: usize },
    /// To an incomplete type further below.
    Walk { of: usize },
    /// Only for a value.
    Smallest,
}

#[derive(Debug)]
struct Frame {
    id: TypeId,
    visit: Visit,
}

/// The decision about one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// Give one element, entry or value, instead of none.
    pub(super) full: bool,
    /// Number of the variant.
    pub(super) variant: usize,
}

/// Exploring was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// More steps than any real type needs.
    Steps,
    /// The value of a recursive type has no end.
    Endless,
}

/// Places visited, at most. A state with a thousand types needs some ten thousand.
const MAX_STEPS: usize = 1 << 18;
/// Types within each other, at most.
const MAX_DEPTH: usize = 128;

/// Everything known about a type and those in it.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) types: Vec<Type>,
    pub(super) root: Option<Place>,
    frames: Vec<Frame>,
    steps: usize,
    /// Enums with fewer variants than names, because a variant has several names.
    counts: Vec<(TypeId, usize)>,
}

impl Graph {
    /// Begins a pass.
    pub(super) fn begin_pass(&mut self) {
        self.frames.clear();
        for found in &mut self.types {
            found.walked = false;
            found.distance = (!found.is_complete()).then_some(0);
        }
        while self.extend_distances() {}
    }

    /// Forgets the types after a failed pass, which may have noted only a part of one.
    pub(super) fn forget(&mut self) {
        self.types.clear();
        self.root = None;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.types.iter().all(Type::is_complete)
    }

    /// One more round of distances. Returns whether one changed.
    fn extend_distances(&mut self) -> bool {
        let mut changed = false;
        for number in 0..self.types.len() {
            let variants = 0..self.types[number].variants.len();
            let next = variants.filter_map(|variant| self.distance_in(number, variant));
            let next = next.min().map(|distance| distance + 1);
            let found = &mut self.types[number];
            if let Some(next) = next
                && found.distance.is_none_or(|distance| next < distance)
            {
                found.distance = Some(next);
                changed = true;
            }
        }
        changed
    }

    /// Steps to the next incomplete type from the parts of a variant.
    fn distance_in(&self, number: usize, variant: usize) -> Option<usize> {
        let parts = self.types[number].variants[variant].parts.iter();
        let distances = parts.filter_map(|part| match part {
            Place::Leaf(_) => None,
            Place::Type(part) => self.types[*part].distance,
        });
        distances.min()
    }

    /// A value without parts.
    pub(super) fn leaf(&mut self, name: &'static str) -> Result<(), Limit> {
        self.step()?;
        self.note(Place::Leaf(name));
        Ok(())
    }

    /// Begins a type with parts. [`Self::leave`] ends it.
    pub(super) fn enter(&mut self, id: TypeId, kind: Kind) -> Result<Choice, Limit> {
        self.step()?;
        if self.frames.len() >= MAX_DEPTH {
            return Err(Limit::Endless);
        }
        let in_smallest = self.frames.last().map(|frame| frame.visit) == Some(Visit::Smallest);
        let visit = if in_smallest {
            Visit::Smallest
        } else {
            let number = self.number_of(id, kind);
            self.note(Place::Type(number));
            self.visit_of(number)
        };
        let choice = Choice {
            full: visit != Visit::Smallest,
            variant: self.variant_for(id, kind, visit)?,
        };
        self.frames.push(Frame { id, visit });
        Ok(choice)
    }

    /// Ends the type that was begun last.
    pub(super) fn leave(&mut self) {
        if let Some(Frame {
            visit: Visit::Record { of, variant },
            ..
        }) = self.frames.pop()
        {
            self.types[of].variants[variant].explored = true;
        }
    }

    /// The form of the current variant.
    pub(super) fn set_form(&mut self, form: Form) {
        if let Some(variant) = self.recorded() {
            variant.form = form;
        }
    }

    /// The enum that was begun last has only `count` variants.
    pub(super) fn limit_variants(&mut self, count: usize) {
        if let Some(frame) = self.frames.last() {
            self.counts.push((frame.id, count));
        }
    }

    fn step(&mut self) -> Result<(), Limit> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Limit::Steps);
        }
        Ok(())
    }

    fn recorded(&mut self) -> Option<&mut Variant> {
        match self.frames.last()?.visit {
            Visit::Record { of, variant } => Some(&mut self.types[of].variants[variant]),
            Visit::Walk { .. } | Visit::Smallest => None,
        }
    }

    fn note(&mut self, place: Place) {
        if self.frames.is_empty() {
            self.root = Some(place);
        } else if let Some(variant) = self.recorded() {
            variant.parts.push(place);
        }
    }

    fn number_of(&mut self, id: TypeId, kind: Kind) -> usize {
        let known = |found: &Type| found.id == id && found.kind == kind;
        if let Some(number) = self.types.iter().position(known) {
            return number;
        }
        let new = |_| Variant {
            form: Form::Tuple,
            parts: Vec::new(),
            explored: false,
        };
        self.types.push(Type {
            id,
            kind,
            variants: (0..self.variants_of(id, kind)).map(new).collect(),
            walked: false,
            distance: None,
        });
        self.types.len() - 1
    }

    fn variants_of(&self, id: TypeId, kind: Kind) -> usize {
        let Kind::Enum(names) = kind else {
            return 1;
        };
        let counted = self.counts.iter().filter(|(known, _)| *known == id);
        counted
            .map(|(_, count)| *count)
            .min()
            .unwrap_or(names.len())
    }

    fn visit_of(&mut self, number: usize) -> Visit {
        let is_current = self.frames.iter().any(|frame| match frame.visit {
            Visit::Record { of, .. } | Visit::Walk { of } => of == number,
            Visit::Smallest => false,
        });
        let found = &mut self.types[number];
        if is_current || found.walked {
            return Visit::Smallest;
        }
        let next = found.variants.iter().position(|variant| !variant.explored);
        if next.is_none() && found.distance.is_none() {
            return Visit::Smallest;
        }
        found.walked = true;
        match next {
            Some(variant) => Visit::Record {
                of: number,
                variant,
            },
            None => Visit::Walk { of: number },
        }
    }

    fn variant_for(&self, id: TypeId, kind: Kind, visit: Visit) -> Result<usize, Limit> {
        match visit {
            Visit::Record { variant, .. } => Ok(variant),
            Visit::Walk { of } => {
                let variants = 0..self.types[of].variants.len();
                let near = variants
                    .min_by_key(|variant| self.distance_in(of, *variant).unwrap_or(usize::MAX));
                near.ok_or(Limit::Endless)
            }
            // Within a value of the same enum, another variant: one of them ends.
            Visit::Smallest => {
                let same = |frame: &&Frame| frame.visit == Visit::Smallest && frame.id == id;
                let depth = self.frames.iter().filter(same).count();
                let is_enum = matches!(kind, Kind::Enum(_));
                match (is_enum, depth < self.variants_of(id, kind)) {
                    (false, _) => Ok(0),
                    (true, true) => Ok(depth),
                    (true, false) => Err(Limit::Endless),
                }
            }
        }
    }
}
