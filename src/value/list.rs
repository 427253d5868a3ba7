//! The list type: a listpack inside the cell while it is within list-max-listpack-size, else a [`Deque`] of such.
//!
//! As in Redis a large list becomes small again only at half the limit, so that one at the limit does not flap.
use super::cell::{Cell, Kind, Large};
use super::deque::{self, ChunkView, Deque, Fill};
use super::listpack::{self, Elem, Listpack};
use crate::base::limits::Limits;

/// A list to read, whatever its encoding.
#[derive(Clone, Copy)]
pub enum ListRef<'a> {
    Packed(Listpack<'a>),
    Deque(&'a Deque),
}

impl<'a> ListRef<'a> {
    /// Of a cell that holds a list; panics on another type.
    #[inline]
    pub fn of(cell: &'a Cell) -> Self {
        match cell.kind() {
            Kind::ListPacked => ListRef::Packed(Listpack::new(cell.body())),
            _ => ListRef::Deque(cell.large()),
        }
    }

    #[inline]
    pub fn len(self) -> usize {
        match self {
            ListRef::Packed(lp) => lp.len(),
            ListRef::Deque(deque) => deque.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The element there; negative counts from the tail.
    pub fn get(self, index: i64) -> Option<Elem<'a>> {
        match self {
            ListRef::Packed(lp) => lp.seek(index).map(|pos| lp.get(pos)),
            ListRef::Deque(deque) => deque.get(index),
        }
    }

    /// Visits the elements from the one at `index` towards the tail, or towards the head, until `visit` returns false.
    #[inline]
    pub fn walk(self, index: usize, backward: bool, mut visit: impl FnMut(Elem<'a>) -> bool) {
        let deque = match self {
            ListRef::Packed(lp) => {
                walk_pack(lp, index, backward, &mut visit);
                return;
            }
            ListRef::Deque(deque) => deque,
        };
        let mut index = index;
        while let Some((chunk, at, count)) = deque.chunk_of(index) {
            crate::base::priority::pass();
            let more = match chunk {
                ChunkView::Packed(bytes) => walk_pack(Listpack::new(bytes), at, backward, &mut visit),
                ChunkView::Plain(bytes) => visit(Elem::Str(bytes)),
            };
            let next = if backward { index.checked_sub(at + 1) } else { Some(index - at + count) };
            match next {
                Some(next) if more => index = next,
                _ => return,
            }
        }
    }

    /// The first element equal to `value`.
    pub fn find(self, value: &[u8]) -> Option<usize> {
        match self {
            ListRef::Deque(deque) => deque.find(value, 0),
            ListRef::Packed(lp) => {
                let found = lp.find(value, 0, None)?;
                let mut pos = lp.first()?;
                let mut index = 0;
                while pos < found {
                    pos = lp.next(pos)?;
                    index += 1;
                }
                Some(index)
            }
        }
    }
}

/// Tells whether `visit` wants more.
#[inline]
fn walk_pack<'a>(
    lp: Listpack<'a>,
    at: usize,
    backward: bool,
    visit: &mut impl FnMut(Elem<'a>) -> bool,
) -> bool {
    let Some(mut pos) = lp.seek(at as i64) else { return true };
    if !backward {
        return lp.iter_from(Some(pos)).all(visit);
    }
    loop {
        if !visit(lp.get(pos)) {
            return false;
        }
        match lp.prev(pos) {
            Some(before) => pos = before,
            None => return true,
        }
    }
}

/// The content of a list at one moment, for readers that take long and hold no lock.
pub enum ListPin {
    Packed(Vec<u8>),
    Deque(Deque),
}

impl ListPin {
    pub fn of(cell: &Cell) -> Self {
        match ListRef::of(cell) {
            ListRef::Packed(lp) => ListPin::Packed(lp.bytes().to_vec()),
            ListRef::Deque(deque) => ListPin::Deque(deque.pin()),
        }
    }

    pub fn get(&self) -> ListRef<'_> {
        match self {
            ListPin::Packed(bytes) => ListRef::Packed(Listpack::new(bytes)),
            ListPin::Deque(deque) => ListRef::Deque(deque),
        }
    }
}

impl Large for Deque {
    fn mem_bytes(&self) -> usize {
        size_of::<Self>() + Deque::mem_bytes(self)
    }

    fn free_effort(&self) -> usize {
        1 + Deque::mem_bytes(self) / self.fill().max_bytes
    }

    fn boxed_clone(&self) -> Box<dyn Large> {
        Box::new(self.pin())
    }
}

/// A cell with an empty list. It must get an element before it is stored.
pub fn new_cell(key: &[u8]) -> Cell {
    Cell::packed(key, Kind::ListPacked, listpack::empty())
}

/// How much these limits allow in a chunk.
pub fn fill(limits: &Limits) -> Fill {
    let mut fill = Fill::from_config(limits.list_max_listpack_size.get());
    fill.plain_threshold = limits.quicklist_packed_threshold.get();
    fill
}

/// A cell with the elements of `deque`: in a listpack, if they are in one chunk within its own limits.
pub fn from_deque(key: &[u8], deque: Deque) -> Cell {
    let fill = deque.fill();
    match deque.only_pack().filter(|pack| fill.allows(pack.len(), deque.len())) {
        Some(pack) => Cell::packed(key, Kind::ListPacked, pack),
        None => Cell::new_large(key, Kind::ListDeque, Box::new(deque)),
    }
}

/// Makes the list large if these elements are too much for a listpack. To be asked before they are added.
#[inline]
pub fn prepare<'t>(cell: &mut Cell, values: impl Iterator<Item = &'t [u8]>, limits: &Limits) {
    if cell.kind() != Kind::ListPacked {
        let threshold = limits.quicklist_packed_threshold.get();
        cell.large_mut::<Deque>().set_plain_threshold(threshold);
        return;
    }
    let fill = fill(limits);
    let (mut bytes, mut entries) = (cell.body().len(), Listpack::new(cell.body()).len());
    for value in values {
        bytes = bytes.saturating_add(value.len());
        entries += 1;
    }
    if !fill.allows(bytes, entries) {
        let deque = Deque::from_listpack(fill, cell.body());
        cell.set_large(Kind::ListDeque, Box::new(deque));
    }
}

/// Makes a large list small again if it has come down to half of what a listpack may hold. To be asked after removals.
#[inline]
pub fn shrink(cell: &mut Cell, limits: &Limits) {
    if cell.kind() != Kind::ListDeque {
        return;
    }
    let Some(bytes) = cell.large::<Deque>().only_pack() else { return };
    let size = limits.list_max_listpack_size.get();
    let fill = Fill::from_config(size);
    // A limit of entries leaves the bytes to the chunks' own.
    let small = match size {
        0.. => Listpack::new(bytes).len() <= fill.max_entries / 2,
        _ => bytes.len() <= fill.max_bytes / 2,
    };
    if small {
        let bytes = bytes.to_vec();
        cell.set_packed(Kind::ListPacked, &bytes);
    }
}

/// Adds an element at the head or the tail; `prepare` came before.
#[inline]
pub fn push(cell: &mut Cell, front: bool, value: &[u8]) {
    match (cell.kind(), front) {
        (Kind::ListPacked, true) => listpack::push_front(&mut cell.blob(), value),
        (Kind::ListPacked, false) => listpack::push_back(&mut cell.blob(), value),
        (_, true) => cell.large_mut::<Deque>().push_front(value),
        (_, false) => cell.large_mut::<Deque>().push_back(value),
    }
}

/// Takes the first or the last element. May leave the list empty: the caller deletes it then.
#[inline]
pub fn pop<R>(cell: &mut Cell, front: bool, visit: impl FnOnce(Elem) -> R) -> Option<R> {
    if cell.kind() != Kind::ListPacked {
        let deque = cell.large_mut::<Deque>();
        return if front { deque.pop_front_with(visit) } else { deque.pop_back_with(visit) };
    }
    let lp = Listpack::new(cell.body());
    let pos = if front { lp.first() } else { lp.last() }?;
    let result = visit(lp.get(pos));
    listpack::remove(&mut cell.blob(), pos);
    Some(result)
}

/// Removes `count` elements from `start` on. May leave the list empty.
pub fn remove_range(cell: &mut Cell, start: usize, count: usize) {
    if cell.kind() != Kind::ListPacked {
        cell.large_mut::<Deque>().remove_range(start, count);
    } else if let Some(pos) = Listpack::new(cell.body()).seek(start as i64) {
        listpack::remove_range(&mut cell.blob(), pos, count);
    }
}

/// Replaces an element; false if there is none at `index`. `prepare` came before.
pub fn set(cell: &mut Cell, index: i64, value: &[u8]) -> bool {
    if cell.kind() != Kind::ListPacked {
        return cell.large_mut::<Deque>().set(index, value);
    }
    let pos = Listpack::new(cell.body()).seek(index);
    if let Some(pos) = pos {
        listpack::replace(&mut cell.blob(), pos, value);
    }
    pos.is_some()
}

/// Inserts before the element at `index`, or at the tail if `index` is the length. `prepare` came before.
pub fn insert(cell: &mut Cell, index: usize, value: &[u8]) {
    if cell.kind() != Kind::ListPacked {
        return cell.large_mut::<Deque>().insert(index, value);
    }
    match Listpack::new(cell.body()).seek(index as i64) {
        Some(pos) => {
            listpack::insert(&mut cell.blob(), pos, value);
        }
        None => listpack::push_back(&mut cell.blob(), value),
    }
}

/// Removes up to `max` elements equal to `value`, from the head or (`backward`) from the tail. Returns how many. May
/// leave the list empty.
pub fn remove_value(cell: &mut Cell, value: &[u8], max: usize, backward: bool) -> usize {
    if cell.kind() != Kind::ListPacked {
        return cell.large_mut::<Deque>().remove_value(value, max, backward);
    }
    let lp = Listpack::new(cell.body());
    let total = deque::count_of(lp, value);
    let hits = total.min(max);
    if hits > 0 {
        let kept = deque::without(lp, value, total, hits, backward);
        cell.set_packed(Kind::ListPacked, &kept);
    }
    hits
}
