//! A digest of values and of the whole dataset, for DEBUG DIGEST and for comparing two servers. It depends on the
//! contents alone: not on encodings, nor on the order of what has none, nor on the process. 160 bits; not Redis's own.
use std::any::Any;
use std::fmt;

use crate::value::cell::{Cell, Kind, Type};
use crate::value::deque::Deque;
use crate::value::hash::HashRef;
use crate::value::listpack::{Elem, Listpack};
use crate::value::set::SetRef;
use crate::value::stream::Stream;
use crate::value::stream::id::StreamId;
use crate::value::table;
use crate::value::zset::ZSetRef;

/// 160 bits in three words; of the last, only half is printed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Digest([u64; 3]);

/// Any constants; changing them changes every digest.
const SEEDS: [u64; 3] = [0x7469_6465, 0x7761_7465, 0x7264_6967];

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Digest(SEEDS.map(|seed| table::hash(seed, bytes)))
    }

    fn of_elem(elem: Elem<'_>) -> Self {
        Self::of(&elem.to_vec())
    }

    /// Adds what has an order.
    pub fn then(self, next: Digest) -> Self {
        let words = self.0.into_iter().chain(next.0);
        Self::of(&words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    }

    /// Adds what has no order.
    pub fn with(self, other: Digest) -> Self {
        // A sum, not an exclusive or, in which two of the same would vanish.
        Digest(std::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}{:08x}", self.0[0], self.0[1], self.0[2] as u32)
    }
}

/// A key's value, and whether it expires.
pub fn value(cell: &Cell) -> Digest {
    let mut d = Digest::of(cell.ty().name().as_bytes());
    match cell.ty() {
        Type::String => d = d.then(string(cell)),
        Type::List => list(cell, &mut |e| d = d.then(Digest::of_elem(e))),
        Type::Set => {
            let mut all = Digest::default();
            set(cell, &mut |e| all = all.with(Digest::of_elem(e)));
            d = d.then(all);
        }
        Type::Hash => {
            let mut all = Digest::default();
            for (field, value, at) in HashRef::of(cell).iter_with_ttl() {
                let pair = Digest::of_elem(field).then(Digest::of_elem(value));
                all = all.with(if at.is_some() { pair.then(Digest::of(b"expires")) } else { pair });
            }
            d = d.then(all);
        }
        Type::ZSet => {
            let mut all = Digest::default();
            zset(cell, &mut |member, score| {
                // Both zeros are one score.
                let score = Digest::of(&(score + 0.0).to_le_bytes());
                all = all.with(Digest::of_elem(member).then(score));
            });
            d = d.then(all);
        }
        Type::Stream => {
            for (id, fields) in cell.large::<Stream>().range(StreamId::MIN, StreamId::MAX) {
                let entry = Digest::of(&id.to_bytes());
                d = d.then(
                    fields.fold(entry, |e, (f, v)| e.then(Digest::of_elem(f)).then(Digest::of_elem(v))),
                );
            }
        }
    }
    if cell.expire_ms().is_some() { d.then(Digest::of(b"expires")) } else { d }
}

fn string(cell: &Cell) -> Digest {
    match cell.kind() {
        Kind::StrInt => Digest::of(cell.as_int().unwrap_or(0).to_string().as_bytes()),
        Kind::StrBig => Digest::of(cell.big().map_or(&[], |v| v)),
        _ => Digest::of(cell.body()),
    }
}

fn list(cell: &Cell, each: &mut dyn FnMut(Elem<'_>)) {
    match large_list(cell) {
        Some(deque) => deque.iter().for_each(each),
        None if cell.kind() == Kind::ListPacked => Listpack::new(cell.body()).iter().for_each(each),
        None => {}
    }
}

/// The chunks of a large list.
pub fn large_list(cell: &Cell) -> Option<&Deque> {
    let value: &dyn Any = cell.as_large()?;
    value.downcast_ref()
}

fn set(cell: &Cell, each: &mut dyn FnMut(Elem<'_>)) {
    SetRef::of(cell).iter().for_each(each);
}

fn zset(cell: &Cell, each: &mut dyn FnMut(Elem<'_>, f64)) {
    ZSetRef::of(cell).iter().for_each(|(member, score)| each(member, score));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{intset, listpack};

    #[test]
    fn the_encoding_does_not_matter() {
        let digest = |cell: Cell| value(&cell).to_string();
        let int = digest(Cell::int(b"k", 12));
        assert_eq!(int, digest(Cell::raw_string(b"other", b"12")));
        assert_eq!(int.len(), 40);
        assert_eq!(Digest::default().to_string(), "0".repeat(40));
        let (mut ints, mut packed) = (intset::empty().to_vec(), listpack::empty().to_vec());
        for n in [1, 2, 3] {
            intset::add(&mut ints, n);
        }
        for text in ["3", "1", "2"] {
            listpack::push_back(&mut packed, text.as_bytes());
        }
        let a = digest(Cell::packed(b"k", Kind::SetInts, &ints));
        assert_eq!(a, digest(Cell::packed(b"k", Kind::SetPacked, &packed)));
        assert_ne!(a, digest(Cell::packed(b"k", Kind::ListPacked, &packed)));
    }

    #[test]
    fn the_order_of_a_list_matters() {
        let digest = |texts: [&str; 2]| {
            let mut packed = listpack::empty().to_vec();
            texts.iter().for_each(|t| listpack::push_back(&mut packed, t.as_bytes()));
            value(&Cell::packed(b"k", Kind::ListPacked, &packed))
        };
        assert_ne!(digest(["a", "b"]), digest(["b", "a"]));
        assert_ne!(digest(["ab", ""]), digest(["a", "b"]));
    }
}
