//! The hash type: field-value pairs in a listpack inside the cell while they are few and short, else a table.
//!
//! A field can have a TTL. A packed hash turns into a listpack of triples with its first one, and stays one; a table's
//! pairs carry theirs, and the table keeps their order. The cell says when the soonest of them expires
//! (`Cell::field_expire_ms`), which every writer here keeps true, and by which the keyspace finds the hash. A field whose
//! time has come stays until it is removed by `expire`; readers hide it, by the horizon that they give.
//!
//! Invariant: a hash that has become a table stays one, as in Redis.
mod packed;
mod pair;
mod table;

use std::collections::HashSet;

use super::cell::{Cell, Kind};
use super::listpack::{self, Elem, Listpack};
use super::table::{Iter as TableIter, Pinned, View};
use crate::base::limits::Limits;
use crate::base::rng::Rng;
use packed::Triples;

pub use pair::Pair;
pub use table::HashTable;

/// The last instant at which a field can expire, in Unix milliseconds; files may say it, commands less.
pub const EXPIRE_MS_MAX: u64 = (1 << 48) - 2;

/// What becomes of a field's TTL when the field is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldTtl {
    None,
    Keep,
    /// Unix milliseconds, from 1 to `EXPIRE_MS_MAX`.
    At(u64),
}

impl FieldTtl {
    /// When the field expires from now on; `was` is when it did so far.
    fn after(self, was: Option<u64>) -> Option<u64> {
        match self {
            FieldTtl::None => None,
            FieldTtl::Keep => was,
            FieldTtl::At(at) => Some(at),
        }
    }
}

/// The fields that are still here, but gone for a reader: those that expire at the horizon or before.
#[derive(Clone, Copy, Default)]
pub(crate) struct Gone {
    /// 0 when there are none, which makes them all live.
    horizon: u64,
    count: usize,
}

impl Gone {
    fn new(horizon: u64, count: usize) -> Self {
        Gone { horizon: if count == 0 { 0 } else { horizon }, count }
    }
}

/// A hash to read, whatever its encoding.
#[derive(Clone, Copy)]
pub struct HashRef<'a> {
    pairs: Repr<'a>,
    gone: Gone,
}

#[derive(Clone, Copy)]
enum Repr<'a> {
    Pairs(Listpack<'a>),
    Triples(Triples<'a>),
    Table(&'a View<Pair>),
}

impl<'a> HashRef<'a> {
    /// Of a cell that holds a hash, with all the fields that are there; panics on another type.
    pub fn of(cell: &'a Cell) -> Self {
        let pairs = match cell.kind() {
            Kind::HashPacked => Repr::Pairs(Listpack::new(cell.body())),
            Kind::HashPackedTtl => Repr::Triples(Triples::new(cell.body())),
            _ => Repr::Table(cell.large::<HashTable>().view()),
        };
        HashRef { pairs, gone: Gone::default() }
    }

    /// As `of`, without the fields whose time has come at `horizon` (Unix milliseconds).
    #[inline]
    pub fn at(cell: &'a Cell, horizon: u64) -> Self {
        let mut hash = Self::of(cell);
        if cell.field_expire_ms().is_some_and(|at| at <= horizon) {
            hash.gone = gone(cell, horizon);
        }
        hash
    }

    /// Pairs.
    pub fn len(self) -> usize {
        let all = match self.pairs {
            Repr::Pairs(lp) => lp.len() / 2,
            Repr::Triples(triples) => triples.len(),
            Repr::Table(t) => t.len(),
        };
        all - self.gone.count
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn get(self, field: &[u8]) -> Option<Elem<'a>> {
        match self.pairs {
            Repr::Pairs(lp) => lp.find_pair(field).map(|(_, value)| lp.get(value)),
            _ => self.get_with_ttl(field).map(|(value, _)| value),
        }
    }

    /// A field's value, and when it expires.
    pub fn get_with_ttl(self, field: &[u8]) -> Option<(Elem<'a>, Option<u64>)> {
        match self.pairs {
            Repr::Pairs(_) => self.get(field).map(|value| (value, None)),
            Repr::Triples(triples) => {
                let found = triples.find(field)?;
                self.lives(found.at).then(|| (triples.0.get(found.value), found.at))
            }
            Repr::Table(t) => {
                let pair = t.get(field).filter(|pair| pair.lives(self.gone.horizon))?;
                Some((Elem::Str(pair.value()), pair.expire_ms()))
            }
        }
    }

    pub fn contains(self, field: &[u8]) -> bool {
        match self.pairs {
            Repr::Pairs(lp) => lp.find(field, 1, None).is_some(),
            _ => self.get_with_ttl(field).is_some(),
        }
    }

    fn lives(self, at: Option<u64>) -> bool {
        at.is_none_or(|at| at > self.gone.horizon)
    }

    /// Every field with its value, once.
    pub fn iter(self) -> Pairs<'a> {
        match self.pairs {
            Repr::Pairs(lp) => Pairs::Packed(lp.pairs()),
            // What is gone is in front.
            Repr::Triples(triples) => {
                let mut left = triples.iter();
                if let Some(last) = self.gone.count.checked_sub(1) {
                    left.nth(last);
                }
                Pairs::Triples(left)
            }
            Repr::Table(t) => Pairs::Table(t.iter(), self.gone.horizon),
        }
    }

    /// Every field with its value and when it expires (Unix milliseconds), once.
    pub fn iter_with_ttl(self) -> impl Iterator<Item = (Elem<'a>, Elem<'a>, Option<u64>)> {
        let (mut pairs, mut triples, mut table) = (None, None, None);
        match self.pairs {
            Repr::Pairs(lp) => pairs = Some(lp.pairs().map(|(field, value)| (field, value, None))),
            Repr::Triples(t) => triples = Some(t.iter()),
            Repr::Table(t) => table = Some(t.iter().map(with_ttl)),
        }
        let all = pairs.into_iter().flatten().chain(triples.into_iter().flatten());
        all.chain(table.into_iter().flatten()).filter(move |(_, _, at)| self.lives(*at))
    }

    /// One step of HSCAN: about `count` pairs from `cursor` on, and the cursor to go on from, 0 at the end. A packed
    /// hash is emitted whole.
    pub fn scan(self, cursor: u64, count: usize, emit: &mut impl FnMut(Elem<'a>, Elem<'a>)) -> u64 {
        match self.pairs {
            // The table's own lifetime is longer than that of the borrow its callback is shown.
            Repr::Table(t) => t.scan(cursor, count, &mut |pair| {
                if pair.lives(self.gone.horizon) {
                    let (field, value) = pair.parts_of(t);
                    emit(Elem::Str(field), Elem::Str(value));
                }
            }),
            _ => {
                self.iter().for_each(|(field, value)| emit(field, value));
                0
            }
        }
    }

    /// A pair, each equally likely.
    pub fn random(self, rng: &mut Rng) -> Option<(Elem<'a>, Elem<'a>)> {
        match self.pairs {
            _ if self.is_empty() => None,
            Repr::Pairs(lp) => {
                let field = lp.seek(2 * rng.below(lp.len() as u64 / 2) as i64)?;
                Some((lp.get(field), lp.get(lp.next(field)?)))
            }
            Repr::Table(t) if self.gone.count == 0 => t.random(&mut |n| rng.below(n)).map(Pair::elems),
            _ => self.iter().nth(rng.below(self.len() as u64) as usize),
        }
    }

    /// `n` pairs, each drawn by itself, until `emit` says to stop.
    pub fn draw(self, n: usize, rng: &mut Rng, mut emit: impl FnMut(Elem<'a>, Elem<'a>) -> bool) {
        if let Repr::Table(t) = self.pairs
            && self.gone.count == 0
        {
            for _ in 0..n {
                let Some((field, value)) = t.random(&mut |n| rng.below(n)).map(Pair::elems) else { return };
                if !emit(field, value) {
                    return;
                }
            }
            return;
        }
        let pairs: Vec<_> = self.iter().collect();
        for _ in 0..n {
            let Some((field, value)) = pairs.get(rng.below((pairs.len() as u64).max(1)) as usize) else {
                return;
            };
            if !emit(*field, *value) {
                return;
            }
        }
    }

    /// `n` different pairs, every choice of them equally likely (their order is not); all where there are fewer.
    pub fn sample(self, n: usize, rng: &mut Rng, mut emit: impl FnMut(Elem<'a>, Elem<'a>)) {
        let len = self.len();
        if let Repr::Table(t) = self.pairs
            && n < len / 3
            && self.gone.count == 0
        {
            let mut seen = HashSet::with_capacity(n);
            while seen.len() < n {
                let Some(pair) = t.random(&mut |n| rng.below(n)) else { return };
                if seen.insert(pair.id()) {
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

fn with_ttl(pair: &Pair) -> (Elem<'_>, Elem<'_>, Option<u64>) {
    let (field, value) = pair.elems();
    (field, value, pair.expire_ms())
}

/// See [`HashRef::iter`]. Lives on the stack only, so that its size matters less than another allocation.
#[allow(clippy::large_enum_variant)]
pub enum Pairs<'a> {
    Packed(listpack::Pairs<'a>),
    Triples(packed::Iter<'a>),
    /// With the horizon.
    Table(TableIter<'a, Pair>, u64),
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Elem<'a>, Elem<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Pairs::Packed(pairs) => pairs.next(),
            Pairs::Triples(triples) => triples.next().map(|(field, value, _)| (field, value)),
            Pairs::Table(pairs, 0) => pairs.next().map(Pair::elems),
            Pairs::Table(pairs, horizon) => pairs.find(|pair| pair.lives(*horizon)).map(Pair::elems),
        }
    }
}

/// The content of a large hash at one moment, for readers that take long and hold no lock.
pub struct HashPin(Pinned<Pair>, Gone);

impl HashPin {
    /// Without the fields that are gone at `horizon`. `None` for a packed hash: that is as quick to read as to pin.
    pub fn of(cell: &Cell, horizon: u64) -> Option<Self> {
        (cell.kind() == Kind::HashTable)
            .then(|| HashPin(cell.large::<HashTable>().pin(), HashRef::at(cell, horizon).gone))
    }

    pub fn get(&self) -> HashRef<'_> {
        HashRef { pairs: Repr::Table(&self.0), gone: self.1 }
    }
}

/// A cell with an empty hash. It must get a pair before it is stored.
pub fn new_cell(key: &[u8]) -> Cell {
    Cell::packed(key, Kind::HashPacked, listpack::empty())
}

/// A cell of a table that was filled by itself.
pub fn table_cell(key: &[u8], table: HashTable) -> Cell {
    let soonest = table.soonest();
    let mut cell = Cell::new_large(key, Kind::HashTable, Box::new(table));
    cell.set_field_expire_ms(soonest);
    cell
}

/// A cell of a listpack of triples, as RDB type 25 has it: its elements are sound (`Listpack::validate`) and no field is
/// there twice. `None` when they are no triples, or not in order. The caller makes it a table if the limits say so.
pub fn triples_cell(key: &[u8], bytes: &[u8]) -> Option<Cell> {
    let triples = Triples::new(bytes);
    if !triples.validate() {
        return None;
    }
    let mut cell = Cell::packed(key, Kind::HashPackedTtl, bytes);
    cell.set_field_expire_ms(triples.soonest());
    Some(cell)
}

/// Makes the hash a table if one of `texts` is too long for a listpack, or all of them too much. To be asked before
/// several pairs are set.
pub fn prepare<'t>(cell: &mut Cell, texts: impl Iterator<Item = &'t [u8]>, limits: &Limits, seed: u64) {
    if cell.kind().is_large() {
        return;
    }
    let value_max = limits.hash_max_listpack_value.get();
    let mut sum = 0usize;
    for text in texts {
        if text.len() > value_max {
            return to_table(cell, seed);
        }
        sum += text.len() + packed::OVERHEAD_MAX;
    }
    if !listpack::has_room(cell.body().len(), sum) {
        to_table(cell, seed);
    }
}

/// Sets a field, which then has no TTL; true when it is new. Becomes a table when the limits say so; `seed` is the
/// keyspace's, for hashing.
pub fn set(cell: &mut Cell, field: &[u8], value: &[u8], limits: &Limits, seed: u64) -> bool {
    put(cell, field, value, FieldTtl::None, limits, seed)
}

/// As `set`, with a TTL.
pub fn put(cell: &mut Cell, field: &[u8], value: &[u8], ttl: FieldTtl, limits: &Limits, seed: u64) -> bool {
    if !cell.kind().is_large() {
        let value_max = limits.hash_max_listpack_value.get();
        if field.len() > value_max
            || value.len() > value_max
            || !listpack::has_room(cell.body().len(), field.len() + value.len() + packed::OVERHEAD_MAX)
        {
            to_table(cell, seed);
        } else if matches!(ttl, FieldTtl::At(_)) {
            to_triples(cell, seed);
        }
    }
    let (created, len) = match cell.kind() {
        Kind::HashPacked => {
            let lp = Listpack::new(cell.body());
            if let Some((_, at)) = lp.find_pair(field) {
                listpack::replace(&mut cell.blob(), at, value);
                return false;
            }
            let len = lp.len() / 2 + 1;
            listpack::insert_pair(&mut cell.blob(), None, field, value);
            (true, len)
        }
        Kind::HashPackedTtl => {
            let triples = Triples::new(cell.body());
            let len = triples.len() + 1;
            let found = triples.find(field);
            let created = found.is_none();
            match found {
                Some(found) => {
                    let at = ttl.after(found.at);
                    packed::update(&mut cell.blob(), found, field, value, at);
                }
                None => packed::insert(&mut cell.blob(), field, value, ttl.after(None)),
            }
            note_soonest(cell);
            (created, len)
        }
        _ => {
            let table = cell.large_mut::<HashTable>();
            let (created, soonest) = (table.put(field, value, ttl), table.soonest());
            cell.set_field_expire_ms(soonest);
            return created;
        }
    };
    if created && len > limits.hash_max_listpack_entries.get() {
        to_table(cell, seed);
    }
    created
}

/// The field, which is there, expires then (Unix milliseconds, from 1 to `EXPIRE_MS_MAX`), or no longer.
pub fn set_expire(cell: &mut Cell, field: &[u8], at: Option<u64>, seed: u64) {
    if at.is_some() {
        to_triples(cell, seed);
    }
    match cell.kind() {
        Kind::HashPacked => {}
        Kind::HashPackedTtl => {
            let triples = Triples::new(cell.body());
            if let Some(found) = triples.find(field).filter(|found| found.at != at) {
                let value = triples.0.get(found.value).to_vec();
                packed::update(&mut cell.blob(), found, field, &value, at);
            }
        }
        _ => cell.large_mut::<HashTable>().set_expire(field, at),
    }
    note_soonest(cell);
}

/// Removes a field; true when it was there. The hash may be left empty: the caller deletes it then.
pub fn remove(cell: &mut Cell, field: &[u8]) -> bool {
    match cell.kind() {
        Kind::HashPacked => {
            let found = Listpack::new(cell.body()).find(field, 1, None);
            if let Some(at) = found {
                listpack::remove_range(&mut cell.blob(), at, 2);
            }
            found.is_some()
        }
        Kind::HashPackedTtl => {
            let found = Triples::new(cell.body()).find(field);
            if let Some(found) = &found {
                listpack::remove_range(&mut cell.blob(), found.field, 3);
                note_soonest(cell);
            }
            found.is_some()
        }
        _ => {
            let table = cell.large_mut::<HashTable>();
            let (removed, soonest) = (table.remove(field), table.soonest());
            cell.set_field_expire_ms(soonest);
            removed
        }
    }
}

/// What `expire` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expired {
    /// All fields are gone, so nothing was removed: the key goes as a whole.
    All,
    /// So many fields were removed; others are left.
    Some(usize),
}

/// Removes up to `most` of the fields that are gone at the horizon, telling `each`.
pub fn expire(cell: &mut Cell, horizon: u64, most: usize, each: &mut dyn FnMut(&[u8])) -> Expired {
    let all = HashRef::of(cell).len();
    let gone = gone(cell, horizon).count;
    if gone == all {
        return Expired::All;
    }
    let n = gone.min(most);
    match cell.kind() {
        Kind::HashPacked => return Expired::Some(0),
        Kind::HashPackedTtl => {
            for (field, _, _) in Triples::new(cell.body()).iter().take(n) {
                each(field.to_cow(&mut [0; listpack::INT_TEXT_MAX]));
            }
            packed::remove_front(&mut cell.blob(), n);
        }
        _ => {
            let table = cell.large_mut::<HashTable>();
            (0..n).filter_map(|_| table.remove_gone(horizon)).for_each(|field| each(&field));
        }
    }
    note_soonest(cell);
    Expired::Some(n)
}

fn gone(cell: &Cell, horizon: u64) -> Gone {
    match cell.kind() {
        Kind::HashPacked => Gone::default(),
        Kind::HashPackedTtl => Triples::new(cell.body()).gone(horizon),
        _ => cell.large::<HashTable>().gone(horizon),
    }
}

/// The cell learns when its first field expires.
fn note_soonest(cell: &mut Cell) {
    let soonest = match cell.kind() {
        Kind::HashPacked => None,
        Kind::HashPackedTtl => Triples::new(cell.body()).soonest(),
        _ => cell.large::<HashTable>().soonest(),
    };
    cell.set_field_expire_ms(soonest);
}

/// Makes a hash of packed pairs one of triples, or a table where they would take too much.
fn to_triples(cell: &mut Cell, seed: u64) {
    if cell.kind() != Kind::HashPacked {
        return;
    }
    let pairs = Listpack::new(cell.body());
    if listpack::has_room(pairs.bytes_len(), pairs.len() / 2 * packed::OVERHEAD_MAX) {
        let triples = packed::of_pairs(pairs);
        cell.set_packed(Kind::HashPackedTtl, &triples);
    } else {
        to_table(cell, seed);
    }
}

/// Makes a packed hash a table.
pub fn to_table(cell: &mut Cell, seed: u64) {
    let mut table = HashTable::new(seed);
    let (mut field_text, mut value_text) = ([0; listpack::INT_TEXT_MAX], [0; listpack::INT_TEXT_MAX]);
    for (field, value, at) in HashRef::of(cell).iter_with_ttl() {
        let ttl = at.map_or(FieldTtl::None, FieldTtl::At);
        table.put(field.to_cow(&mut field_text), value.to_cow(&mut value_text), ttl);
    }
    cell.set_large(Kind::HashTable, Box::new(table));
}

#[cfg(test)]
mod tests;
