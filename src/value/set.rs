//! The set type: an intset while all members are integers, a listpack while they are few and short, else a table.
//!
//! A table's slot is a [`Bytes`]: the address of the member's bytes with their length above it, or the member itself
//! when it has at most seven bytes. Invariant: `heap` is what the members' allocations take. A set that has become a
//! table stays one, as in Redis.
#![allow(unsafe_code)]
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::HashSet;
use std::ptr;

use smallvec::SmallVec;

use super::cell::{Cell, Kind, Large};
use super::intset::{self, Intset};
use super::listpack::{self, Elem, Listpack};
use super::table::{self, Iter as TableIter, Pinned, Slot, Table, View};
use crate::base::alloc::size_class;
use crate::base::limits::Limits;
use crate::base::num::parse_i64;
use crate::base::rng::Rng;

/// A set to read, whatever its encoding.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    Ints(Intset<'a>),
    Packed(Listpack<'a>),
    Table(&'a View<Bytes>),
}

impl<'a> SetRef<'a> {
    /// Of a cell that holds a set; panics on another type.
    pub fn of(cell: &'a Cell) -> Self {
        match cell.kind() {
            Kind::SetInts => SetRef::Ints(Intset::new(cell.body())),
            Kind::SetPacked => SetRef::Packed(Listpack::new(cell.body())),
            _ => SetRef::Table(&cell.large::<SetTable>().table),
        }
    }

    pub fn len(self) -> usize {
        match self {
            SetRef::Ints(ints) => ints.len(),
            SetRef::Packed(pack) => pack.len(),
            SetRef::Table(table) => table.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            SetRef::Ints(ints) => parse_i64(member).is_some_and(|v| ints.contains(v)),
            SetRef::Packed(pack) => pack.find(member, 0, None).is_some(),
            SetRef::Table(table) => table.get(member).is_some(),
        }
    }

    /// As `contains`; spares the text of an integer where an intset is asked.
    pub fn contains_elem(self, member: Elem<'_>) -> bool {
        match (self, member) {
            (SetRef::Ints(ints), Elem::Int(v)) => ints.contains(v),
            _ => self.contains(member.to_cow(&mut [0; listpack::INT_TEXT_MAX])),
        }
    }

    pub fn iter(self) -> Iter<'a> {
        match self {
            SetRef::Ints(ints) => Iter::Ints(ints.iter()),
            SetRef::Packed(pack) => Iter::Packed(pack.iter()),
            SetRef::Table(table) => Iter::Table(table.iter()),
        }
    }

    /// One step of SSCAN: emits at least `count` members, unless the end comes first; returns the next cursor, 0 at
    /// the end. What is not a table is emitted whole, as in Redis.
    pub fn scan(self, cursor: u64, count: usize, emit: &mut impl FnMut(Elem<'a>)) -> u64 {
        let SetRef::Table(table) = self else {
            self.iter().for_each(emit);
            return 0;
        };
        let mut emit = |member: &Bytes| {
            // SAFETY: the member lives in the table, which is borrowed for 'a.
            emit(Elem::Str(unsafe { &*ptr::from_ref(member.get()) }));
        };
        table.scan(cursor, count, &mut emit)
    }

    /// A member, each equally likely.
    pub fn random(self, rng: &mut Rng) -> Option<Elem<'a>> {
        match self {
            SetRef::Ints(ints) => ints.get(rng.below(ints.len().max(1) as u64) as usize).map(Elem::Int),
            SetRef::Packed(pack) => {
                pack.seek(rng.below(pack.len().max(1) as u64) as i64).map(|pos| pack.get(pos))
            }
            SetRef::Table(table) => table.random(&mut |n| rng.below(n)).map(|m| Elem::Str(m.get())),
        }
    }

    /// `count` distinct members, every choice equally likely; all of them when there are no more.
    pub fn sample(self, count: usize, rng: &mut Rng, emit: &mut impl FnMut(Elem<'a>)) {
        let len = self.len();
        if let SetRef::Table(table) = self
            && count < len / 3
        {
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let Some(member) = table.random(&mut |n| rng.below(n)) else { return };
                if seen.insert(ptr::from_ref(member)) {
                    emit(Elem::Str(member.get()));
                }
            }
            return;
        }
        let mut wanted = count.min(len);
        for (seen, member) in self.iter().enumerate() {
            if wanted == 0 {
                return;
            }
            if rng.below((len - seen) as u64) < wanted as u64 {
                wanted -= 1;
                emit(member);
            }
        }
    }
}

/// See [`SetRef::iter`].
#[expect(clippy::large_enum_variant, reason = "lives on the stack of one loop")]
pub enum Iter<'a> {
    Ints(intset::Iter<'a>),
    Packed(listpack::Iter<'a>),
    Table(TableIter<'a, Bytes>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Elem<'a>;

    #[inline]
    fn next(&mut self) -> Option<Elem<'a>> {
        match self {
            Iter::Ints(ints) => ints.next().map(Elem::Int),
            Iter::Packed(pack) => pack.next(),
            Iter::Table(table) => table.next().map(|member| Elem::Str(member.get())),
        }
    }
}

/// A set as it was at one moment, for readers that let the keyspace go on meanwhile.
pub enum SetPin {
    Small(Kind, Box<[u8]>),
    Table(Pinned<Bytes>),
}

impl SetPin {
    /// Of a cell that holds a set.
    pub fn of(cell: &Cell) -> Self {
        match cell.kind() {
            kind @ (Kind::SetInts | Kind::SetPacked) => SetPin::Small(kind, cell.body().into()),
            _ => SetPin::Table(cell.large::<SetTable>().table.pin()),
        }
    }

    pub fn get(&self) -> SetRef<'_> {
        match self {
            SetPin::Small(Kind::SetInts, body) => SetRef::Ints(Intset::new(body)),
            SetPin::Small(_, body) => SetRef::Packed(Listpack::new(body)),
            SetPin::Table(pin) => SetRef::Table(pin),
        }
    }
}

/// An empty set in the encoding that suits its first member and `expected` members in all.
pub fn create(key: &[u8], first: &[u8], expected: usize, limits: &Limits, seed: u64) -> Cell {
    if expected <= limits.set_max_intset_entries.get() && parse_i64(first).is_some() {
        Cell::packed(key, Kind::SetInts, intset::empty())
    } else if expected <= limits.set_max_listpack_entries.get() {
        Cell::packed(key, Kind::SetPacked, listpack::empty())
    } else {
        let table = Table::with_capacity(seed, expected);
        Cell::new_large(key, Kind::SetTable, Box::new(SetTable { table, heap: 0 }))
    }
}

/// An empty set that grows through the encodings as members come: for results of unknown size.
pub fn create_empty(key: &[u8]) -> Cell {
    Cell::packed(key, Kind::SetInts, intset::empty())
}

/// Announces that up to `more` members are about to be added.
pub fn expect(cell: &mut Cell, more: usize, limits: &Limits, seed: u64) {
    let convert = match cell.kind() {
        Kind::SetInts => more > limits.set_max_intset_entries.get(),
        Kind::SetPacked => more > limits.set_max_listpack_entries.get(),
        _ => false,
    };
    if convert {
        to_table(cell, more, seed);
    }
}

/// Adds a member; true when it was new. May change the encoding.
pub fn add(cell: &mut Cell, member: &[u8], limits: &Limits, seed: u64) -> bool {
    match cell.kind() {
        Kind::SetTable => return cell.large_mut::<SetTable>().add(member),
        Kind::SetPacked => {
            let pack = Listpack::new(cell.body());
            if pack.find(member, 0, None).is_some() {
                return false;
            }
            if pack.len() < limits.set_max_listpack_entries.get()
                && member.len() <= limits.set_max_listpack_value.get()
                && listpack::has_room(pack.bytes_len(), member.len() + 16)
            {
                listpack::push_back(&mut cell.blob(), member);
                return true;
            }
        }
        _ => {
            if let Some(value) = parse_i64(member) {
                let added = intset::add(&mut cell.blob(), value);
                if added && Intset::new(cell.body()).len() > limits.set_max_intset_entries.get().min(1 << 30)
                {
                    to_table(cell, 0, seed);
                }
                return added;
            }
            let ints = Intset::new(cell.body());
            let value_max = limits.set_max_listpack_value.get();
            let longest = ints.first().into_iter().chain(ints.last()).map(|v| Elem::Int(v).len()).max();
            if ints.len() < limits.set_max_listpack_entries.get()
                && member.len() <= value_max
                && longest.is_none_or(|len| len <= value_max)
                && listpack::has_room(ints.len() * 12, member.len() + 16)
            {
                let mut pack = listpack::empty().to_vec();
                ints.iter().for_each(|v| listpack::push_back_int(&mut pack, v));
                listpack::push_back(&mut pack, member);
                cell.set_packed(Kind::SetPacked, &pack);
                return true;
            }
        }
    }
    to_table(cell, 0, seed);
    cell.large_mut::<SetTable>().add(member)
}

/// Removes a member; false when it was not there. The set may be empty afterwards.
pub fn remove(cell: &mut Cell, member: &[u8]) -> bool {
    match cell.kind() {
        Kind::SetTable => cell.large_mut::<SetTable>().remove(member),
        Kind::SetPacked => {
            let Some(at) = Listpack::new(cell.body()).find(member, 0, None) else { return false };
            listpack::remove(&mut cell.blob(), at);
            true
        }
        _ => parse_i64(member).is_some_and(|v| intset::remove(&mut cell.blob(), v)),
    }
}

/// Makes it a table with room for `expected`, if it is none.
pub fn to_table(cell: &mut Cell, expected: usize, seed: u64) {
    if cell.kind() == Kind::SetTable {
        return;
    }
    let set = SetRef::of(cell);
    let mut large = SetTable::new(seed);
    large.table.reserve(expected.max(set.len() + 1));
    for member in set.iter() {
        large.add(member.to_cow(&mut [0; listpack::INT_TEXT_MAX]));
    }
    cell.set_large(Kind::SetTable, Box::new(large));
}

/// A large set.
#[derive(Clone)]
pub struct SetTable {
    table: Table<Bytes>,
    heap: usize,
}

impl SetTable {
    pub fn new(seed: u64) -> Self {
        SetTable { table: Table::new(seed), heap: 0 }
    }

    /// Announces how many members there will be.
    pub fn reserve(&mut self, members: usize) {
        self.table.reserve(members);
    }

    pub fn add(&mut self, member: &[u8]) -> bool {
        let hash = self.table.hash_of(member);
        if self.table.get_hashed(hash, member).is_some() {
            return false;
        }
        let bytes = Bytes::new(member);
        self.heap += bytes.heap_bytes();
        self.table.insert_new_hashed(hash, bytes);
        true
    }

    pub fn remove(&mut self, member: &[u8]) -> bool {
        let Some(gone) = self.table.remove(member) else { return false };
        self.heap -= gone.heap_bytes();
        true
    }

    /// Takes out a member, each equally likely.
    pub fn pop(&mut self, rng: &mut Rng) -> Option<Bytes> {
        let chosen = self.table.random(&mut |n| rng.below(n))?;
        // A copy, as the chosen entry is gone before the table is done with the key.
        let key = SmallVec::<[u8; 64]>::from_slice(chosen.get());
        let gone = self.table.remove(&key)?;
        self.heap -= gone.heap_bytes();
        Some(gone)
    }

    pub fn view(&self) -> &View<Bytes> {
        &self.table
    }
}

impl Large for SetTable {
    fn mem_bytes(&self) -> usize {
        size_class(size_of::<Self>()) + self.table.mem_bytes() + self.heap
    }

    fn free_effort(&self) -> usize {
        self.table.len()
    }

    fn boxed_clone(&self) -> Box<dyn Large> {
        Box::new(self.clone())
    }

    fn settle(&mut self, leaves: usize) -> bool {
        self.table.settle(leaves)
    }
}

/// Immutable bytes behind eight: up to seven stand in the word itself; of more, the address in the lower 48 bits and
/// the length in the upper 16, or, when it does not fit there, before the bytes.
///
/// The lowest bit tells the two apart: allocations are aligned to eight.
#[repr(transparent)]
pub struct Bytes(u64);

const INLINE_MAX: usize = 7;
const ADDRESS_BITS: u32 = 48;
/// In place of a length: it stands in the allocation's first eight bytes.
const LONG: u64 = 0xffff;
const LONG_HEADER: usize = 8;

// SAFETY: owns its bytes, which nobody changes.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

#[cfg(target_endian = "big")]
compile_error!("inline members rely on the word's first byte being the lowest");

impl Bytes {
    pub fn new(bytes: &[u8]) -> Self {
        let len = bytes.len();
        if len <= INLINE_MAX {
            let mut word = [0; 8];
            word[0] = (len as u8) << 1 | 1;
            word[1..=len].copy_from_slice(bytes);
            return Bytes(u64::from_le_bytes(word));
        }
        let (top, header) = if (len as u64) < LONG { (len as u64, 0) } else { (LONG, LONG_HEADER) };
        let layout = Self::layout(len + header);
        // SAFETY: the layout is not empty and has room for the header, if any, and the bytes.
        unsafe {
            let raw = alloc(layout);
            if raw.is_null() {
                handle_alloc_error(layout);
            }
            if header > 0 {
                raw.cast::<usize>().write(len);
            }
            ptr::copy_nonoverlapping(bytes.as_ptr(), raw.add(header), len);
            // User space ends far below 2^48 on the platforms we support, without tags.
            let address = raw.expose_provenance() as u64;
            assert!(address >> ADDRESS_BITS == 0, "addresses have 48 bits");
            Bytes(top << ADDRESS_BITS | address)
        }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("a member's length is bounded by proto-max-bulk-len")
    }

    #[inline]
    fn is_inline(&self) -> bool {
        self.0 & 1 != 0
    }

    #[inline]
    fn raw(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut((self.0 & ((1 << ADDRESS_BITS) - 1)) as usize)
    }

    /// Length and header length of what is on the heap.
    #[inline]
    fn heap_shape(&self) -> (usize, usize) {
        match self.0 >> ADDRESS_BITS {
            // SAFETY: the mark says that the length stands first.
            LONG => (unsafe { self.raw().cast::<usize>().read() }, LONG_HEADER),
            len => (len as usize, 0),
        }
    }

    #[inline]
    pub fn get(&self) -> &[u8] {
        if self.is_inline() {
            let len = usize::from(self.0 as u8 >> 1);
            // SAFETY: the word has eight bytes, of which `len` at most seven follow the first.
            return unsafe { std::slice::from_raw_parts(ptr::from_ref(self).cast::<u8>().add(1), len) };
        }
        let (len, header) = self.heap_shape();
        // SAFETY: that is how `new` laid it out, and it lives as long as its owner.
        unsafe { std::slice::from_raw_parts(self.raw().add(header), len) }
    }

    /// What the allocator gave for it.
    fn heap_bytes(&self) -> usize {
        if self.is_inline() {
            return 0;
        }
        let (len, header) = self.heap_shape();
        size_class(len + header)
    }
}

impl Drop for Bytes {
    #[inline]
    fn drop(&mut self) {
        if !self.is_inline() {
            let (len, header) = self.heap_shape();
            // SAFETY: allocated with this layout, freed once.
            unsafe { dealloc(self.raw(), Self::layout(len + header)) };
        }
    }
}

impl Clone for Bytes {
    fn clone(&self) -> Self {
        if self.is_inline() { Bytes(self.0) } else { Bytes::new(self.get()) }
    }
}

impl Slot for Bytes {
    fn hash(&self, seed: u64) -> u64 {
        table::hash(seed, self.get())
    }

    #[inline]
    fn matches(&self, key: &[u8]) -> bool {
        self.get() == key
    }

    #[inline]
    fn prefetch(&self) {
        if !self.is_inline() {
            table::prefetch(self.raw());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::base::rng::Rng;

    fn members(set: SetRef<'_>) -> BTreeSet<Vec<u8>> {
        set.iter().map(|m| m.to_vec()).collect()
    }

    fn limits(ints: usize, entries: usize) -> Limits {
        let limits = Limits::new();
        limits.set_max_intset_entries.set(ints);
        limits.set_max_listpack_entries.set(entries);
        limits
    }

    #[test]
    fn encodings_change_where_redis_changes_them() {
        let limits = limits(4, 3);
        let mut cell = create(b"k", b"1", 1, &limits, 7);
        for m in [b"1", b"2", b"3"] {
            assert!(add(&mut cell, m, &limits, 7) && !add(&mut cell, m, &limits, 7));
        }
        assert_eq!(cell.kind(), Kind::SetInts);
        let mut full = cell.copied(b"other");
        add(&mut full, b"x", &limits, 7);
        assert_eq!(full.kind(), Kind::SetTable);
        remove(&mut cell, b"3");
        add(&mut cell, b"x", &limits, 7);
        assert_eq!(cell.kind(), Kind::SetPacked);
        add(&mut cell, b"y", &limits, 7);
        assert_eq!((cell.kind(), SetRef::of(&cell).len()), (Kind::SetTable, 4));
        let mut ints = create_empty(b"k");
        (0..5).for_each(|i| assert!(add(&mut ints, i.to_string().as_bytes(), &limits, 7)));
        assert_eq!(ints.kind(), Kind::SetTable);
        assert_eq!(create(b"k", b"a", 4, &limits, 7).kind(), Kind::SetTable);
        let mut long = create_empty(b"k");
        add(&mut long, &[b'a'; 65], &limits, 7);
        assert_eq!(long.kind(), Kind::SetTable);
    }

    #[test]
    fn a_large_set_takes_little_memory() {
        let mut set = SetTable::new(3);
        (0..200_000).for_each(|i| assert!(set.add(format!("member:{i:09}").as_bytes())));
        let bytes = set.mem_bytes() as f64 / 200_000.0;
        assert!(bytes < 36.0, "{bytes}");
        (0..200_000).for_each(|i| assert!(set.remove(format!("member:{i:09}").as_bytes())));
        assert_eq!(set.heap, 0);
    }

    #[test]
    fn bytes_of_every_length_come_back() {
        for len in [0, 1, 6, 7, 8, 9, 200, 65_534, 65_535, 65_536, 100_000] {
            let text: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let bytes = Bytes::new(&text);
            assert_eq!((bytes.get(), bytes.clone().get()), (&text[..], &text[..]));
        }
    }

    #[test]
    fn every_member_is_drawn_about_as_often() {
        let mut rng = Rng::from_seed(5);
        for size in [10usize, 300] {
            let limits = limits(4, if size == 10 { 128 } else { 0 });
            let mut cell = create_empty(b"k");
            (0..size).for_each(|i| {
                let _ = add(&mut cell, format!("m{i}").as_bytes(), &limits, 7);
            });
            let set = SetRef::of(&cell);
            let mut drawn = std::collections::HashMap::new();
            for _ in 0..size * 20 {
                let mut n = 0;
                set.sample(5, &mut rng, &mut |m| {
                    n += 1;
                    *drawn.entry(m.to_vec()).or_insert(0) += 1;
                });
                assert_eq!(n, 5);
            }
            assert!(drawn.len() == size && drawn.values().all(|n| (50..160).contains(n)), "{drawn:?}");
        }
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => (0..60i64).prop_map(|i| i.to_string().into_bytes()),
            3 => (0..60u32).prop_map(|i| format!("member-{i}").into_bytes()),
            1 => prop::collection::vec(any::<u8>(), 0..12),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn edits_match_a_btree_set(ops in prop::collection::vec((0..8u8, member()), 0..200), entries in 0..40usize) {
            let limits = limits(entries, entries);
            let mut rng = Rng::from_seed(1);
            let mut cell = create_empty(b"k");
            let mut model = BTreeSet::new();
            let mut pins = Vec::new();
            for (op, m) in ops {
                match op {
                    0..=3 => prop_assert_eq!(add(&mut cell, &m, &limits, 9), model.insert(m)),
                    4..=5 => prop_assert_eq!(remove(&mut cell, &m), model.remove(&m)),
                    6 => pins.push((SetPin::of(&cell), cell.copied(b"copy"), model.clone())),
                    _ if cell.kind() == Kind::SetTable => {
                        let gone = cell.large_mut::<SetTable>().pop(&mut rng);
                        prop_assert!(gone.is_none_or(|g| model.remove(g.get())));
                    }
                    _ => drop(pins.pop()),
                }
            }
            prop_assert_eq!(&members(SetRef::of(&cell)), &model);
            prop_assert!(model.iter().all(|m| SetRef::of(&cell).contains(m)));
            let mut scanned = BTreeSet::new();
            let mut cursor = 0;
            loop {
                cursor = SetRef::of(&cell).scan(cursor, 7, &mut |m| { let _ = scanned.insert(m.to_vec()); });
                if cursor == 0 {
                    break;
                }
            }
            prop_assert_eq!(&scanned, &model);
            for (pin, mut copy, then) in pins {
                prop_assert_eq!(&members(pin.get()), &then);
                prop_assert_eq!(&members(SetRef::of(&copy)), &then);
                add(&mut copy, b"only here", &limits, 9);
                prop_assert!(!SetRef::of(&cell).contains(b"only here"));
            }
            prop_assert_eq!(&members(SetRef::of(&cell)), &model);
        }
    }
}
