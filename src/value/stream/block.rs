//! One block of a stream: entries packed in a listpack, byte for byte as Redis keeps them and as RDB files hold them.
//!
//! ```text
//! master: live | deleted | n | field * n | 0
//! entry:  flags | ms - master's | seq - master's | value * n | size           flags: same fields as the master
//!         flags | ms - master's | seq - master's | m | (field value) * m | size
//! ```
//! `size` is the number of elements of the entry before it, so that entries can be read from the tail. A deleted entry
//! stays where it is, flagged.
//!
//! Invariants, checked by [`check`] for blocks from outside: the structure above throughout, the two counts right; live
//! entries ascend and are not below the master's id. Deleted ones may be out of order: XSETID can take ids back that
//! only tombstones hold.
use smallvec::SmallVec;

use crate::value::listpack::{self, Batch, Elem, Iter, Listpack, Pos};

use super::id::StreamId;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// A block to read.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    pub master: StreamId,
    pack: Listpack<'a>,
    /// The master's fields: how many, and the first one.
    fields: usize,
    names: Option<Pos>,
}

/// An entry, deleted or not.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub id: StreamId,
    pub deleted: bool,
    pub fields: Fields<'a>,
}

/// An entry's fields with their values.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    left: usize,
    /// The master's field names, unless the entry has its own.
    names: Option<Iter<'a>>,
    items: Iter<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Elem<'a>, Elem<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => names.next()?,
            None => self.items.next()?,
        };
        Some((name, self.items.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

impl<'a> Block<'a> {
    /// Views a block that was built here or that [`check`] accepted.
    #[inline]
    pub fn new(master: StreamId, bytes: &'a [u8]) -> Self {
        let pack = Listpack::new(bytes);
        let at = third(pack);
        let fields = at.map_or(0, |at| int(pack, at) as usize);
        Block { master, pack, fields, names: at.and_then(|at| pack.next(at)) }
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.pack.bytes()
    }

    /// Entries that are not deleted.
    #[inline]
    pub fn live(&self) -> u64 {
        self.pack.first().map_or(0, |at| int(self.pack, at) as u64)
    }

    /// Entries that are.
    pub fn deleted(&self) -> u64 {
        let second = self.pack.first().and_then(|at| self.pack.next(at));
        second.map_or(0, |at| int(self.pack, at) as u64)
    }

    /// All entries, tombstones too, from the head.
    #[inline]
    pub fn forward(self) -> Cursor<'a> {
        let mut at = self.names;
        for _ in 0..=self.fields {
            at = at.and_then(|pos| self.pack.next(pos));
        }
        Cursor { block: self, at, reverse: false }
    }

    /// The same from the tail.
    #[inline]
    pub fn backward(self) -> Cursor<'a> {
        Cursor { block: self, at: self.pack.last(), reverse: true }
    }

    /// The entry whose flags are there, and the first of its own fields or values.
    #[inline]
    fn entry(&self, flags_at: Pos) -> Option<(Entry<'a>, Pos, usize)> {
        let pack = self.pack;
        let flags = int(pack, flags_at);
        let ms_at = pack.next(flags_at)?;
        let seq_at = pack.next(ms_at)?;
        let id = StreamId::new(
            self.master.ms.wrapping_add_signed(int(pack, ms_at)),
            self.master.seq.wrapping_add_signed(int(pack, seq_at)),
        );
        let mut at = pack.next(seq_at)?;
        let same = flags & SAME_FIELDS != 0;
        let (left, names, items) = if same {
            (self.fields, Some(pack.iter_from(self.names)), self.fields)
        } else {
            let own = int(pack, at) as usize;
            at = pack.next(at)?;
            (own, None, 2 * own)
        };
        let fields = Fields { left, names, items: pack.iter_from(Some(at)) };
        Some((Entry { id, deleted: flags & DELETED != 0, fields }, at, items))
    }

    /// Where the live entry's flags are.
    pub fn find(&self, id: StreamId) -> Option<Pos> {
        let mut cursor = self.forward();
        loop {
            let at = cursor.at;
            let entry = cursor.next()?;
            if !entry.deleted && entry.id >= id {
                return at.filter(|_| entry.id == id);
            }
        }
    }
}

/// Entries one way.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    block: Block<'a>,
    /// Forward: the next entry's flags. Backward: its size.
    at: Option<Pos>,
    reverse: bool,
}

impl<'a> Iterator for Cursor<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let pack = self.block.pack;
        let mut at = self.at?;
        if self.reverse {
            let size = int(pack, at);
            if size == 0 {
                self.at = None;
                return None;
            }
            for _ in 0..size {
                at = pack.prev(at)?;
            }
            self.at = pack.prev(at);
            return self.block.entry(at).map(|(entry, ..)| entry);
        }
        let (entry, mut at, items) = self.block.entry(at)?;
        for _ in 0..items {
            at = pack.next(at)?;
        }
        self.at = pack.next(at);
        Some(entry)
    }
}

#[inline]
fn int(pack: Listpack<'_>, at: Pos) -> i64 {
    match pack.get(at) {
        Elem::Int(n) => n,
        // Numbers are always stored as such, but a dump made elsewhere may be sloppier.
        text => text.as_i64().unwrap_or(0),
    }
}

fn third(pack: Listpack<'_>) -> Option<Pos> {
    pack.next(pack.next(pack.first()?)?)
}

/// Starts a block with its first entry. `parts` alternates fields and values.
pub fn start<'p>(parts: impl Iterator<Item = &'p [u8]> + Clone) -> Vec<u8> {
    let count = parts.clone().count() / 2;
    let mut batch = Batch::new();
    batch.int(1);
    batch.int(0);
    batch.int(count as i64);
    parts.clone().step_by(2).for_each(|field| batch.text(field));
    batch.int(0);
    batch.int(SAME_FIELDS);
    batch.int(0);
    batch.int(0);
    parts.skip(1).step_by(2).for_each(|value| batch.text(value));
    batch.int(count as i64 + 3);
    let mut bytes = listpack::empty().to_vec();
    batch.append_to(&mut bytes);
    bytes
}

/// Appends an entry whose id is above all live ones.
pub fn append<'p>(
    bytes: &mut Vec<u8>,
    master: StreamId,
    id: StreamId,
    parts: impl Iterator<Item = &'p [u8]> + Clone,
) {
    let block = Block::new(master, bytes);
    let mut names = block.pack.iter_from(block.names);
    let mut count = 0;
    let mut same = true;
    for field in parts.clone().step_by(2) {
        count += 1;
        same = same && count <= block.fields && names.next().is_some_and(|name| name.eq_bytes(field));
    }
    same &= count == block.fields;
    let mut batch = Batch::new();
    batch.int(if same { SAME_FIELDS } else { 0 });
    batch.int(id.ms.wrapping_sub(master.ms) as i64);
    batch.int(id.seq.wrapping_sub(master.seq) as i64);
    let count = count as i64;
    if same {
        parts.skip(1).step_by(2).for_each(|value| batch.text(value));
        batch.int(count + 3);
    } else {
        batch.int(count);
        parts.for_each(|part| batch.text(part));
        batch.int(2 * count + 4);
    }
    batch.append_to(bytes);
    add_live(bytes, 1);
}

/// Places of entries to delete.
pub type Places = SmallVec<[Pos; 4]>;

impl Block<'_> {
    /// The live entries from the head on that go, as long as `goes` says so of each entry, tombstones among them.
    pub fn to_trim(self, mut goes: impl FnMut(&Entry<'_>) -> bool) -> Places {
        let mut cursor = self.forward();
        let mut places = Places::new();
        loop {
            let at = cursor.at;
            match (cursor.next(), at) {
                (Some(entry), Some(at)) if goes(&entry) => {
                    if !entry.deleted {
                        places.push(at);
                    }
                }
                _ => return places,
            }
        }
    }
}

/// Flags live entries as deleted where that changes no size; false, with nothing done, where it does.
pub fn flag_in_place(bytes: &mut [u8], places: &[Pos]) -> bool {
    let pack = Listpack::new(bytes);
    let Some(live_at) = pack.first() else { return false };
    let Some(deleted_at) = pack.next(live_at) else { return false };
    let (live, deleted, n) = (int(pack, live_at), int(pack, deleted_at), places.len() as i64);
    // By their bytes: a dump made elsewhere may hold a small number in a large form.
    let mut small = |at: Pos| {
        let value = int(Listpack::new(bytes), at);
        listpack::set_small(bytes, at, value)
    };
    let fits = small(live_at) && small(deleted_at) && places.iter().all(|at| small(*at));
    if !fits || live < n || deleted + n > 0x7F {
        return false;
    }
    let mut done = listpack::set_small(bytes, live_at, live - n);
    done &= listpack::set_small(bytes, deleted_at, deleted + n);
    for &at in places {
        let flags = int(Listpack::new(bytes), at);
        done &= listpack::set_small(bytes, at, flags | DELETED);
    }
    debug_assert!(done, "numbers below 128 take one byte");
    done
}

/// Flags live entries as deleted. From the last one on, so that the places before stay good whatever the flags' size was.
pub fn flag(bytes: &mut Vec<u8>, places: &[Pos]) {
    for &at in places.iter().rev() {
        let flags = int(Listpack::new(bytes), at);
        listpack::replace_int(bytes, at, flags | DELETED);
    }
    let n = places.len() as i64;
    add_live(bytes, -n);
    let pack = Listpack::new(bytes);
    if let Some(at) = pack.first().and_then(|at| pack.next(at)) {
        let deleted = int(pack, at);
        listpack::replace_int(bytes, at, deleted + n);
    }
}

/// Adds to the count of live entries.
fn add_live(bytes: &mut Vec<u8>, n: i64) {
    let pack = Listpack::new(bytes);
    if let Some(at) = pack.first() {
        let live = int(pack, at);
        listpack::replace_int(bytes, at, live + n);
    }
}

/// Whether bytes from outside are a block; if so, its live entries and the last live id.
pub fn check(master: StreamId, bytes: &[u8]) -> Option<(u64, Option<StreamId>)> {
    if !Listpack::validate(bytes, true) || bytes.len() > listpack::BYTES_MAX {
        return None;
    }
    let mut elems = Listpack::new(bytes).iter();
    let live = size(elems.next()?)?;
    let deleted = size(elems.next()?)?;
    let names = size(elems.next()?)?;
    skip(&mut elems, names)?;
    if elems.next()?.as_i64()? != 0 {
        return None;
    }
    let (mut seen, mut gone, mut last) = (0u64, 0u64, None);
    while let Some(flags) = elems.next() {
        let flags = flags.as_i64()?;
        let ms = master.ms.wrapping_add_signed(elems.next()?.as_i64()?);
        let id = StreamId::new(ms, master.seq.wrapping_add_signed(elems.next()?.as_i64()?));
        let size = if flags & SAME_FIELDS != 0 {
            skip(&mut elems, names)?;
            names.checked_add(3)?
        } else {
            let own = size(elems.next()?)?;
            skip(&mut elems, own.checked_mul(2)?)?;
            own.checked_mul(2)?.checked_add(4)?
        };
        if u64::try_from(elems.next()?.as_i64()?).ok()? != size {
            return None;
        }
        if flags & DELETED != 0 {
            gone += 1;
            continue;
        }
        if id < master || last.is_some_and(|last| id <= last) {
            return None;
        }
        last = Some(id);
        seen += 1;
    }
    (seen == live && gone == deleted).then_some((live, last))
}

fn size(elem: Elem<'_>) -> Option<u64> {
    u64::try_from(elem.as_i64()?).ok()
}

/// Skips elements that must be there: a count from outside ends with them.
fn skip(elems: &mut Iter<'_>, n: u64) -> Option<()> {
    for _ in 0..n {
        elems.next()?;
    }
    Some(())
}
