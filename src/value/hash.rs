//! The hash type: field-value pairs in a listpack inside the cell while they are few and short, else a table.
//!
//! A table entry is one allocation with the field's bytes and then the value's; their lengths stand in the upper half of
//! the table's eight-byte slot, so that a pair of 16 and 16 bytes takes 32. Invariants: `bytes` is the sum of what the
//! pairs' allocations take; a hash that has become a table stays one, as in Redis.
#![allow(unsafe_code)]
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::HashSet;
use std::ptr;

use super::cell::{Cell, Kind, Large};
use super::listpack::{self, Elem, Listpack};
use super::table::{self, Pinned, Slot, Table, View};
use crate::base::alloc::size_class;
use crate::base::limits::Limits;
use crate::base::rng::Rng;

/// A hash to read, whatever its encoding.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    Packed(Listpack<'a>),
    Table(&'a View<Pair>),
}

impl<'a> HashRef<'a> {
    /// Of a cell that holds a hash; panics on another type.
    pub fn of(cell: &'a Cell) -> Self {
        match cell.kind() {
            Kind::HashPacked => HashRef::Packed(Listpack::new(cell.body())),
            _ => HashRef::Table(cell.large::<HashTable>().view()),
        }
    }

    /// Pairs.
    pub fn len(self) -> usize {
        match self {
            HashRef::Packed(lp) => lp.len() / 2,
            HashRef::Table(t) => t.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn get(self, field: &[u8]) -> Option<Elem<'a>> {
        match self {
            HashRef::Packed(lp) => lp.find_pair(field).map(|(_, value)| lp.get(value)),
            HashRef::Table(t) => t.get(field).map(|pair| Elem::Str(pair.value())),
        }
    }

    pub fn contains(self, field: &[u8]) -> bool {
        match self {
            HashRef::Packed(lp) => lp.find(field, 1, None).is_some(),
            HashRef::Table(t) => t.get(field).is_some(),
        }
    }

    /// Every field with its value, once.
    pub fn iter(self) -> Pairs<'a> {
        match self {
            HashRef::Packed(lp) => Pairs::Packed(lp.pairs()),
            HashRef::Table(t) => Pairs::Table(t.iter()),
        }
    }

    /// One step of HSCAN: about `count` pairs from `cursor` on, and the cursor to go on from, 0 at the end. A packed
    /// hash is emitted whole.
    pub fn scan(self, cursor: u64, count: usize, emit: &mut impl FnMut(Elem<'a>, Elem<'a>)) -> u64 {
        match self {
            HashRef::Packed(lp) => {
                lp.pairs().for_each(|(field, value)| emit(field, value));
                0
            }
            // The table's own lifetime is longer than that of the borrow its callback is shown.
            HashRef::Table(t) => t.scan(cursor, count, &mut |pair| {
                let (field, value) = pair.parts_of(t);
                emit(Elem::Str(field), Elem::Str(value));
            }),
        }
    }

    /// A pair, each equally likely.
    pub fn random(self, rng: &mut Rng) -> Option<(Elem<'a>, Elem<'a>)> {
        match self {
            HashRef::Packed(lp) if lp.is_empty() => None,
            HashRef::Packed(lp) => {
                let field = lp.seek(2 * rng.below(lp.len() as u64 / 2) as i64)?;
                Some((lp.get(field), lp.get(lp.next(field)?)))
            }
            HashRef::Table(t) => t.random(&mut |n| rng.below(n)).map(Pair::elems),
        }
    }

    /// `n` different pairs, every choice of them equally likely (their order is not); all where there are fewer.
    pub fn sample(self, n: usize, rng: &mut Rng, mut emit: impl FnMut(Elem<'a>, Elem<'a>)) {
        let len = self.len();
        if let HashRef::Table(t) = self
            && n < len / 3
        {
            let mut seen = HashSet::with_capacity(n);
            while seen.len() < n {
                let Some(pair) = t.random(&mut |n| rng.below(n)) else { return };
                if seen.insert(pair.0) {
                    let (field, value) = pair.elems();
                    emit(field, value);
                }
            }
            return;
        }
        // Each pair is taken with the chance (still wanted) / (still to come).
        let mut wanted = n.min(len);
        for (at, (field, value)) in self.iter().enumerate() {
            if wanted == 0 {
                return;
            }
            if rng.below((len - at) as u64) < wanted as u64 {
                wanted -= 1;
                emit(field, value);
            }
        }
    }
}

/// See [`HashRef::iter`]. Lives on the stack only, so that its size matters less than another allocation.
#[allow(clippy::large_enum_variant)]
pub enum Pairs<'a> {
    Packed(listpack::Pairs<'a>),
    Table(table::Iter<'a, Pair>),
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Elem<'a>, Elem<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Pairs::Packed(pairs) => pairs.next(),
            Pairs::Table(pairs) => pairs.next().map(Pair::elems),
        }
    }
}

/// The content of a large hash at one moment, for readers that take long and hold no lock.
pub struct HashPin(Pinned<Pair>);

impl HashPin {
    /// `None` for a packed hash: that is as quick to read as to pin.
    pub fn of(cell: &Cell) -> Option<Self> {
        (cell.kind() == Kind::HashTable).then(|| HashPin(cell.large::<HashTable>().pin()))
    }

    pub fn get(&self) -> HashRef<'_> {
        HashRef::Table(&self.0)
    }
}

/// A cell with an empty hash. It must get a pair before it is stored.
pub fn new_cell(key: &[u8]) -> Cell {
    Cell::packed(key, Kind::HashPacked, listpack::empty())
}

/// Makes the hash a table if one of `texts` is too long for a listpack, or all of them too much. To be asked before
/// several pairs are set.
pub fn prepare<'t>(cell: &mut Cell, texts: impl Iterator<Item = &'t [u8]>, limits: &Limits, seed: u64) {
    if cell.kind() != Kind::HashPacked {
        return;
    }
    let value_max = limits.hash_max_listpack_value.get();
    let mut sum = 0usize;
    for text in texts {
        if text.len() > value_max {
            return to_table(cell, seed);
        }
        sum += text.len() + LISTPACK_OVERHEAD_MAX;
    }
    if !listpack::has_room(cell.body().len(), sum) {
        to_table(cell, seed);
    }
}

/// What an element takes beyond its text: five bytes of encoding, five of backlen.
const LISTPACK_OVERHEAD_MAX: usize = 10;

/// Sets a field; true when it is new. Becomes a table when the limits say so; `seed` is the keyspace's, for hashing.
pub fn set(cell: &mut Cell, field: &[u8], value: &[u8], limits: &Limits, seed: u64) -> bool {
    if cell.kind() == Kind::HashPacked {
        let value_max = limits.hash_max_listpack_value.get();
        if field.len() > value_max
            || value.len() > value_max
            || !listpack::has_room(cell.body().len(), field.len() + value.len() + 2 * LISTPACK_OVERHEAD_MAX)
        {
            to_table(cell, seed);
        }
    }
    if cell.kind() != Kind::HashPacked {
        return cell.large_mut::<HashTable>().set(field, value);
    }
    let lp = Listpack::new(cell.body());
    if let Some((_, at)) = lp.find_pair(field) {
        listpack::replace(&mut cell.blob(), at, value);
        return false;
    }
    let len = lp.len() / 2 + 1;
    listpack::insert_pair(&mut cell.blob(), None, field, value);
    if len > limits.hash_max_listpack_entries.get() {
        to_table(cell, seed);
    }
    true
}

/// Removes a field; true when it was there. The hash may be left empty: the caller deletes it then.
pub fn remove(cell: &mut Cell, field: &[u8]) -> bool {
    if cell.kind() != Kind::HashPacked {
        return cell.large_mut::<HashTable>().remove(field);
    }
    let found = Listpack::new(cell.body()).find(field, 1, None);
    if let Some(at) = found {
        listpack::remove_range(&mut cell.blob(), at, 2);
    }
    found.is_some()
}

/// Makes a packed hash a table.
pub fn to_table(cell: &mut Cell, seed: u64) {
    let lp = Listpack::new(cell.body());
    let mut table = HashTable::new(seed);
    let (mut field_text, mut value_text) = ([0; listpack::INT_TEXT_MAX], [0; listpack::INT_TEXT_MAX]);
    for (field, value) in lp.pairs() {
        table.set(field.to_cow(&mut field_text), value.to_cow(&mut value_text));
    }
    cell.set_large(Kind::HashTable, Box::new(table));
}

/// The large encoding.
pub struct HashTable {
    pairs: Content,
    /// What the pairs' allocations take.
    bytes: usize,
    seed: u64,
}

enum Content {
    Own(Table<Pair>),
    /// A copy that shares everything with its original until it is first written to.
    Pin(Pinned<Pair>),
}

impl HashTable {
    pub fn new(seed: u64) -> Self {
        HashTable { pairs: Content::Own(Table::new(seed)), bytes: 0, seed }
    }

    /// Announces that there will be about `pairs` in all, before a bulk load.
    pub fn reserve(&mut self, pairs: usize) {
        self.own().reserve(pairs);
    }

    pub fn view(&self) -> &View<Pair> {
        match &self.pairs {
            Content::Own(table) => table,
            Content::Pin(pin) => pin,
        }
    }

    pub fn pin(&self) -> Pinned<Pair> {
        match &self.pairs {
            Content::Own(table) => table.pin(),
            Content::Pin(pin) => pin.clone(),
        }
    }

    /// Sets a field; true when it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let table = self.own();
        let hash = table.hash_of(field);
        let (pair, created) = table.find_or_insert_with(hash, field, || Pair::new(field, value));
        let change = if created {
            pair.mem_bytes()
        } else {
            let before = pair.mem_bytes();
            pair.set_value(value);
            pair.mem_bytes().wrapping_sub(before)
        };
        self.bytes = self.bytes.wrapping_add(change);
        created
    }

    /// Removes a field; true when it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some(pair) = self.own().remove(field) else { return false };
        self.bytes -= pair.mem_bytes();
        true
    }

    fn own(&mut self) -> &mut Table<Pair> {
        if let Content::Pin(pin) = &self.pairs {
            let mut table = Table::with_capacity(self.seed, pin.len());
            for pair in pin.iter() {
                table.insert_new_hashed(pair.hash(self.seed), pair.clone());
            }
            self.pairs = Content::Own(table);
        }
        match &mut self.pairs {
            Content::Own(table) => table,
            Content::Pin(_) => unreachable!("it was just made our own"),
        }
    }
}

impl Large for HashTable {
    fn mem_bytes(&self) -> usize {
        let nodes = match &self.pairs {
            Content::Own(table) => table.mem_bytes(),
            // Shared with the original; about what it would take.
            Content::Pin(pin) => pin.len() * 13,
        };
        size_class(size_of::<Self>()) + nodes + self.bytes
    }

    fn free_effort(&self) -> usize {
        self.view().len()
    }

    fn boxed_clone(&self) -> Box<dyn Large> {
        Box::new(HashTable { pairs: Content::Pin(self.pin()), bytes: self.bytes, seed: self.seed })
    }
}

/// A field and its value: the address of their bytes, and above it the two lengths, eight bits each. Where one is
/// too long for that, both stand before the bytes as 64-bit words.
pub struct Pair(u64);

const ADDRESS_BITS: u32 = 48;
/// In place of the field's length: look into the allocation.
const LONG: usize = 0xff;
const LONG_HEADER: usize = 16;

impl Pair {
    fn new(field: &[u8], value: &[u8]) -> Self {
        let long = field.len() >= LONG || value.len() >= LONG;
        let head = if long { LONG_HEADER } else { 0 };
        let layout = pair_layout(head + field.len() + value.len());
        // SAFETY: the layout is not empty and has room for the header, if any, and both texts; it is 8-aligned.
        let at = unsafe {
            let at = alloc(layout);
            if at.is_null() {
                handle_alloc_error(layout);
            }
            if long {
                at.cast::<[u64; 2]>().write([field.len() as u64, value.len() as u64]);
            }
            ptr::copy_nonoverlapping(field.as_ptr(), at.add(head), field.len());
            ptr::copy_nonoverlapping(value.as_ptr(), at.add(head + field.len()), value.len());
            at
        };
        let lengths = if long { LONG } else { field.len() | value.len() << 8 };
        let address = at.expose_provenance() as u64;
        assert!(address >> ADDRESS_BITS == 0, "user space has 48-bit addresses");
        Pair(address | (lengths as u64) << ADDRESS_BITS)
    }

    fn address(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut((self.0 & ((1 << ADDRESS_BITS) - 1)) as usize)
    }

    /// Header bytes and the lengths of field and value.
    fn lengths(&self) -> (usize, usize, usize) {
        let lengths = (self.0 >> ADDRESS_BITS) as usize;
        let field = lengths & 0xff;
        if field != LONG {
            return (0, field, lengths >> 8);
        }
        // SAFETY: the mark says that the allocation starts with two words.
        let [field, value] = unsafe { self.address().cast::<[u64; 2]>().read() };
        (LONG_HEADER, field as usize, value as usize)
    }

    pub fn field(&self) -> &[u8] {
        let (head, field, _) = self.lengths();
        // SAFETY: the field's bytes lie in the allocation, which lives as long as the pair.
        unsafe { std::slice::from_raw_parts(self.address().add(head), field) }
    }

    pub fn value(&self) -> &[u8] {
        let (head, field, value) = self.lengths();
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.address().add(head + field), value) }
    }

    fn elems(&self) -> (Elem<'_>, Elem<'_>) {
        (Elem::Str(self.field()), Elem::Str(self.value()))
    }

    /// The texts of a pair that lies in `_owner`, for as long as that is borrowed: a table does not change while it is.
    fn parts_of<'a>(&self, _owner: &'a View<Pair>) -> (&'a [u8], &'a [u8]) {
        let (head, field, value) = self.lengths();
        let at = self.address();
        // SAFETY: the bytes lie in the allocation, which lives and stays as it is while the view is borrowed.
        unsafe {
            (
                std::slice::from_raw_parts(at.add(head), field),
                std::slice::from_raw_parts(at.add(head + field), value),
            )
        }
    }

    fn set_value(&mut self, value: &[u8]) {
        let (head, field, old) = self.lengths();
        if old == value.len() {
            // SAFETY: the value's bytes lie in the allocation, ours alone; `value` is a foreign slice.
            unsafe { ptr::copy_nonoverlapping(value.as_ptr(), self.address().add(head + field), old) };
        } else {
            *self = Pair::new(self.field(), value);
        }
    }

    fn size(&self) -> usize {
        let (head, field, value) = self.lengths();
        head + field + value
    }

    fn mem_bytes(&self) -> usize {
        size_class(pair_layout(self.size()).size())
    }
}

fn pair_layout(size: usize) -> Layout {
    Layout::from_size_align(size.max(1), 8).expect("sizes are far below isize::MAX")
}

impl Clone for Pair {
    fn clone(&self) -> Self {
        Pair::new(self.field(), self.value())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { dealloc(self.address(), pair_layout(self.size())) };
    }
}

impl Slot for Pair {
    fn hash(&self, seed: u64) -> u64 {
        table::hash(seed, self.field())
    }

    fn matches(&self, key: &[u8]) -> bool {
        self.field() == key
    }

    fn prefetch(&self) {
        table::prefetch(self.address());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn content(hash: HashRef<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let all: BTreeMap<_, _> = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
        assert_eq!(all.len(), hash.len());
        all
    }

    fn number(elem: Elem<'_>) -> usize {
        crate::base::num::parse_i64(&elem.to_vec()).expect("a number") as usize
    }

    fn recount(table: &HashTable) -> usize {
        table.view().iter().map(Pair::mem_bytes).sum()
    }

    #[test]
    fn pairs_of_all_lengths() {
        for (f, v) in [(0, 0), (1, 0), (0, 1), (254, 254), (255, 0), (3, 255), (70_000, 5), (5, 70_000)] {
            let (field, value) = (vec![b'f'; f], vec![b'v'; v]);
            let mut pair = Pair::new(&field, &value).clone();
            assert_eq!((pair.field(), pair.value()), (&*field, &*value));
            pair.set_value(b"other");
            assert_eq!((pair.field(), pair.value()), (&*field, &b"other"[..]));
            pair.set_value(b"again");
            assert_eq!(pair.value(), b"again");
        }
        assert_eq!(Pair::new(&[b'f'; 16], &[b'v'; 16]).mem_bytes(), 32);
    }

    /// The project's target for a field of 16 bytes with a value of 16, everything included, is 64.5 bytes.
    #[test]
    fn memory_a_field() {
        let mut table = HashTable::new(7);
        for i in 0..20_000 {
            table.set(format!("field:{i:010}").as_bytes(), format!("value:{i:010}").as_bytes());
        }
        let each = table.mem_bytes() as f64 / 20_000.0;
        assert!((32.0..52.0).contains(&each), "{each}");
        let mut cell = new_cell(b"user:0001000");
        for i in 0..5 {
            set(&mut cell, format!("f{i}").as_bytes(), b"value:1", &Limits::new(), 7);
        }
        assert!(cell.mem_bytes() <= 112, "{}", cell.mem_bytes());
    }

    #[test]
    fn converts_at_the_limits() {
        let limits = Limits::new();
        limits.hash_max_listpack_entries.set(128);
        let mut cell = new_cell(b"k");
        for i in 0..128 {
            assert!(set(&mut cell, format!("f{i}").as_bytes(), b"1", &limits, 7));
        }
        assert_eq!(cell.kind(), Kind::HashPacked);
        assert!(!set(&mut cell, b"f0", b"2", &limits, 7));
        assert_eq!(cell.kind(), Kind::HashPacked);
        set(&mut cell, b"f128", b"1", &limits, 7);
        assert_eq!((cell.kind(), HashRef::of(&cell).len()), (Kind::HashTable, 129));
        let mut cell = new_cell(b"k");
        set(&mut cell, b"f", &[b'x'; 64], &limits, 7);
        assert_eq!(cell.kind(), Kind::HashPacked);
        set(&mut cell, b"f", &[b'x'; 65], &limits, 7);
        assert_eq!(cell.kind(), Kind::HashTable);
    }

    #[test]
    fn a_copy_and_its_original_part_at_the_first_write() {
        let mut cell = new_cell(b"k");
        for i in 0..1000 {
            set(&mut cell, format!("f{i}").as_bytes(), b"1", &Limits::new(), 7);
        }
        let mut copy = cell.copied(b"c");
        let pin = HashPin::of(&copy).expect("it is a table");
        set(&mut copy, b"f1", b"2", &Limits::new(), 7);
        remove(&mut cell, b"f2");
        assert_eq!(HashRef::of(&cell).len(), 999);
        assert!(HashRef::of(&cell).get(b"f1").is_some_and(|v| v.eq_bytes(b"1")));
        assert!(HashRef::of(&copy).get(b"f1").is_some_and(|v| v.eq_bytes(b"2")));
        assert!(HashRef::of(&copy).contains(b"f2") && pin.get().contains(b"f2"));
        drop(cell);
        assert!(pin.get().get(b"f1").is_some_and(|v| v.eq_bytes(b"1")));
        assert_eq!(content(pin.get()).len(), 1000);
    }

    #[test]
    fn samples_are_different_and_uniform() {
        for pairs in [20, 500] {
            let mut cell = new_cell(b"k");
            for i in 0..pairs {
                set(&mut cell, format!("{i}").as_bytes(), b"1", &Limits::new(), 7);
            }
            let hash = HashRef::of(&cell);
            let mut rng = crate::base::rng::Rng::from_seed(3);
            let mut counts = vec![0; pairs];
            for n in [1, 5, pairs / 2, pairs - 1, pairs, pairs + 3] {
                let mut got = HashSet::new();
                hash.sample(n, &mut rng, |f, _| assert!(got.insert(f.to_vec())));
                assert_eq!(got.len(), n.min(pairs));
            }
            for _ in 0..pairs * 20 {
                hash.sample(2, &mut rng, |f, _| counts[number(f)] += 1);
                counts[number(hash.random(&mut rng).expect("not empty").0)] += 1;
            }
            assert!(counts.iter().all(|c| (25..110).contains(c)), "{counts:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_a_map(
            steps in prop::collection::vec((0..60u32, prop_oneof![Just(0usize), 1..40usize, 60..70usize, 250..260usize], 0..5u32), 1..200),
            entries_max in 1..40usize,
        ) {
            let limits = Limits::new();
            limits.hash_max_listpack_entries.set(entries_max);
            let mut cell = new_cell(b"key");
            let mut model = BTreeMap::new();
            let mut pins = Vec::new();
            for (field, len, what) in steps {
                let field = if field % 2 == 0 { field.to_string() } else { format!("field:{field}") }.into_bytes();
                match what {
                    0 => prop_assert_eq!(remove(&mut cell, &field), model.remove(&field).is_some()),
                    1 => pins.extend(HashPin::of(&cell).map(|pin| (pin, model.clone()))),
                    _ => {
                        let value = if len < 10 { len.to_string().into_bytes() } else { vec![b'v'; len] };
                        let created = set(&mut cell, &field, &value, &limits, 7);
                        prop_assert_eq!(created, model.insert(field.clone(), value).is_none());
                    }
                }
                let hash = HashRef::of(&cell);
                prop_assert_eq!(hash.get(&field).map(|v| v.to_vec()), model.get(&field).cloned());
                prop_assert_eq!(hash.contains(&field), model.contains_key(&field));
            }
            prop_assert_eq!(&content(HashRef::of(&cell)), &model);
            let (mut cursor, mut scanned) = (0, BTreeMap::new());
            loop {
                cursor = HashRef::of(&cell).scan(cursor, 5, &mut |f, v| {
                    scanned.insert(f.to_vec(), v.to_vec());
                });
                if cursor == 0 { break; }
            }
            prop_assert_eq!(&scanned, &model);
            if cell.kind() == Kind::HashTable {
                let table = cell.large::<HashTable>();
                prop_assert_eq!(table.bytes, recount(table));
            }
            for (pin, then) in pins {
                prop_assert_eq!(content(pin.get()), then);
            }
        }
    }
}
