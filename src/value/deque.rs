//! A large list: a double-ended sequence of listpack chunks ("quicklist" to OBJECT ENCODING).
//!
//! The chunks hang in a tree with element counts, so an index in the middle of millions is found in a few steps, and
//! inserting there moves one chunk's bytes. A chunk keeps its spare room at whichever end grows, so that pushes and
//! pops at both ends move no more than a header.
//!
//! Invariants:
//! - No chunk and no inner node is empty; all chunks are at one depth.
//! - `counts[i]` is the number of elements below child `i`.
//! - A chunk is one listpack within [`Fill`], or one that a single element exceeds, or (`plain`) that element's raw
//!   bytes.
//! - Nodes and chunks are changed only through `Arc::make_mut`: a pin (a clone) never changes.
use std::ops::Deref;
use triomphe::Arc;

use smallvec::SmallVec;

use super::blob::Blob;
use super::btree::Slots;
use super::listpack::{self, Elem, Listpack};

/// How much goes into a chunk (list-max-listpack-size), and from where on an element is kept raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub max_bytes: usize,
    pub max_entries: usize,
    /// Bytes of an element that listpacks should not see.
    pub plain_threshold: usize,
}

impl Fill {
    /// From list-max-listpack-size: entries where positive (and 8 KiB then), -1 to -5 for 4 to 64 KiB.
    pub fn from_config(size: i64) -> Self {
        let (max_entries, max_bytes) = match size {
            0.. => (usize::try_from(size).unwrap_or(usize::MAX).max(1), 8 << 10),
            _ => (usize::MAX, 4 << 10 << (size.max(-5) + 1).unsigned_abs()),
        };
        Fill { max_bytes, max_entries, plain_threshold: 1 << 30 }
    }

    pub fn allows(&self, bytes: usize, entries: usize) -> bool {
        bytes <= self.max_bytes && entries <= self.max_entries
    }
}

impl Default for Fill {
    fn default() -> Self {
        Self::from_config(-2)
    }
}

/// An element taken out of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Int(i64),
    Bytes(Vec<u8>),
}

impl Value {
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Value::Int(n) => n.to_string().into_bytes(),
            Value::Bytes(bytes) => bytes.clone(),
        }
    }
}

impl From<Elem<'_>> for Value {
    fn from(elem: Elem) -> Self {
        match elem {
            Elem::Int(n) => Value::Int(n),
            Elem::Str(bytes) => Value::Bytes(bytes.to_vec()),
        }
    }
}

/// What a chunk holds, for those who store it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkView<'a> {
    Packed(&'a [u8]),
    Plain(&'a [u8]),
}

/// See the module. `Clone` is O(1) and is what [`Deque::pin`] does.
#[derive(Clone)]
pub struct Deque {
    root: Option<Arc<Inner>>,
    len: usize,
    mem: usize,
    fill: Fill,
}

impl Deque {
    pub const fn new(fill: Fill) -> Self {
        Deque { root: None, len: 0, mem: 0, fill }
    }

    /// From a (valid) listpack: as it is where it fits in one chunk.
    pub fn from_listpack(fill: Fill, bytes: &[u8]) -> Self {
        let mut deque = Self::new(fill);
        let pack = Listpack::new(bytes);
        if fill.allows(bytes.len(), pack.len()) {
            deque.append_packed(bytes);
        } else {
            let mut buf = [0; listpack::INT_TEXT_MAX];
            for elem in pack.iter() {
                deque.push_back(elem.to_cow(&mut buf));
            }
        }
        deque
    }

    /// Appends a (valid) listpack as a chunk of its own, as a loader has them.
    pub fn append_packed(&mut self, bytes: &[u8]) {
        let count = Listpack::new(bytes).len();
        if count > 0 {
            self.append_chunk(Chunk { buf: Buf::new(bytes), plain: false }, count);
        }
    }

    /// Appends an element as a raw chunk.
    pub fn append_plain(&mut self, bytes: &[u8]) {
        self.append_chunk(Chunk { buf: Buf::new(bytes), plain: true }, 1);
    }

    fn append_chunk(&mut self, chunk: Chunk, count: usize) {
        let mut new = Some((chunk, count));
        self.edit(self.len.saturating_sub(1), &mut |spot| spot.add.extend(new.take()));
    }

    /// All elements as one listpack, if it stays within these limits.
    pub fn to_listpack(&self, max_bytes: usize, max_entries: usize) -> Option<Vec<u8>> {
        if self.len > max_entries {
            return None;
        }
        let mut all = listpack::empty().to_vec();
        for chunk in self.chunks() {
            match chunk {
                ChunkView::Packed(bytes)
                    if all.len() + bytes.len() - listpack::empty().len() <= max_bytes =>
                {
                    listpack::append(&mut all, Listpack::new(bytes));
                }
                _ => return None,
            }
        }
        Some(all)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// From where on an element is kept raw, from now on.
    #[inline]
    pub fn set_plain_threshold(&mut self, bytes: usize) {
        self.fill.plain_threshold = bytes;
    }

    /// The one chunk that holds everything, if it is a listpack.
    #[inline]
    pub fn only_pack(&self) -> Option<&[u8]> {
        match &self.root.as_deref()?.kids {
            Kids::Chunks(kids) if kids.len() == 1 && !kids[0].plain => Some(&kids[0]),
            _ => None,
        }
    }

    /// The list as it is now, whatever happens to `self` later. O(1).
    pub fn pin(&self) -> Self {
        self.clone()
    }

    /// Bytes allocated, O(1).
    pub fn mem_bytes(&self) -> usize {
        self.mem
    }

    pub fn push_back(&mut self, value: &[u8]) {
        if !self.push_within(false, value) {
            self.insert(self.len, value);
        }
    }

    pub fn push_front(&mut self, value: &[u8]) {
        if !self.push_within(true, value) {
            self.insert(0, value);
        }
    }

    /// Pushes if the chunk at that end has room: the common case, without a look at the rest of the tree.
    #[inline]
    fn push_within(&mut self, front: bool, value: &[u8]) -> bool {
        let fill = self.fill;
        let Some(root) = self.root.as_mut().filter(|_| value.len() < fill.plain_threshold) else {
            return false;
        };
        let entry = listpack::entry_size(value);
        let mut mem = 0;
        let done = Arc::make_mut(root).edit_end(front, &mut |chunk, count| {
            if chunk.plain || !fill.allows(chunk.len() + entry, count + 1) {
                return None;
            }
            mem -= chunk.mem();
            let chunk = Arc::make_mut(chunk);
            if front {
                listpack::push_front(chunk, value)
            } else {
                listpack::push_back(chunk, value)
            }
            mem += chunk.mem();
            Some(1)
        });
        self.mem = self.mem.wrapping_add_signed(mem);
        self.len += usize::from(done.is_some());
        done.is_some()
    }

    pub fn pop_front(&mut self) -> Option<Value> {
        self.pop_front_with(|elem| elem.into())
    }

    pub fn pop_back(&mut self) -> Option<Value> {
        self.pop_back_with(|elem| elem.into())
    }

    pub fn pop_front_with<R>(&mut self, visit: impl FnOnce(Elem) -> R) -> Option<R> {
        self.pop_end_with(true, visit)
    }

    pub fn pop_back_with<R>(&mut self, visit: impl FnOnce(Elem) -> R) -> Option<R> {
        self.pop_end_with(false, visit)
    }

    /// Where the chunk at that end has more elements, the common case, looks at no other; a chunk that shrinks this way
    /// is left to be emptied rather than joined with its neighbour.
    #[inline]
    fn pop_end_with<R>(&mut self, front: bool, visit: impl FnOnce(Elem) -> R) -> Option<R> {
        let root = self.root.as_mut()?;
        let (mut visit, mut result, mut mem) = (Some(visit), None, 0);
        let done = Arc::make_mut(root).edit_end(front, &mut |chunk, count| {
            if count == 1 {
                return None;
            }
            let pack = chunk.pack();
            let pos = if front { pack.first() } else { pack.last() }?;
            result = visit.take().map(|visit| visit(pack.get(pos)));
            mem -= chunk.mem();
            let chunk = Arc::make_mut(chunk);
            listpack::remove(chunk, pos);
            chunk.buf.relax();
            mem += chunk.mem();
            Some(-1)
        });
        if done.is_some() {
            self.mem = self.mem.wrapping_add_signed(mem);
            self.len -= 1;
            return result;
        }
        let index = if front { 0 } else { self.len - 1 };
        self.take(index, visit?)
    }

    fn take<R>(&mut self, index: usize, visit: impl FnOnce(Elem) -> R) -> Option<R> {
        let result = visit(self.get(index as i64)?);
        self.remove_range(index, 1);
        Some(result)
    }

    /// Where an index counted from the tail if negative lies, if it does.
    fn resolve(&self, index: i64) -> Option<usize> {
        let index = if index < 0 { index.checked_add_unsigned(self.len as u64)? } else { index };
        usize::try_from(index).ok().filter(|&i| i < self.len)
    }

    /// The element there; negative counts from the tail.
    pub fn get(&self, index: i64) -> Option<Elem<'_>> {
        let index = self.resolve(index)?;
        let (chunk, at, _) = self.chunk_at(index)?;
        chunk.get(at)
    }

    /// Replaces an element; false if the index is out of range.
    pub fn set(&mut self, index: i64, value: &[u8]) -> bool {
        let Some(index) = self.resolve(index) else { return false };
        let fill = self.fill;
        let mut done = false;
        self.edit(index, &mut |spot| {
            let chunk = &mut spot.kids[spot.i];
            if spot.counts[spot.i] == 1 {
                *chunk = Arc::new(Chunk::of(value, &fill));
                done = true;
            } else if let Some(pos) = chunk.pack().seek(spot.at as i64) {
                let old = chunk.pack().get(pos);
                let entry = match old {
                    Elem::Int(n) => listpack::int_entry_size(n),
                    Elem::Str(text) => listpack::entry_size(text),
                };
                let grown = chunk.len() + listpack::entry_size(value) - entry;
                if grown <= fill.max_bytes && value.len() < fill.plain_threshold {
                    listpack::replace(Arc::make_mut(chunk), pos, value);
                    done = true;
                }
            }
        });
        if !done {
            self.remove_range(index, 1);
            self.insert(index, value);
        }
        true
    }

    /// Inserts before the element at `index`, or at the tail if `index` is the length. Panics past it.
    pub fn insert(&mut self, index: usize, value: &[u8]) {
        assert!(index <= self.len);
        let fill = self.fill;
        let entry = listpack::entry_size(value);
        let alone = listpack::empty().len() + entry > fill.max_bytes || value.len() >= fill.plain_threshold;
        // After the element before it, so that the room in that one's chunk is seen first.
        self.edit(index.saturating_sub(1), &mut |spot| {
            let i = spot.i;
            let Some(&count) = spot.counts.get(i) else {
                spot.add.push((Chunk::of(value, &fill), 1));
                return;
            };
            let at = spot.at + usize::from(index > 0);
            let fits =
                |chunk: &Chunk, count| !alone && !chunk.plain && fill.allows(chunk.len() + entry, count + 1);
            if fits(&spot.kids[i], count) {
                Arc::make_mut(&mut spot.kids[i]).insert(at, count, value);
                spot.counts[i] += 1;
                return;
            }
            if at == count && i + 1 < spot.kids.len() && fits(&spot.kids[i + 1], spot.counts[i + 1]) {
                Arc::make_mut(&mut spot.kids[i + 1]).insert(0, spot.counts[i + 1], value);
                spot.counts[i + 1] += 1;
                return;
            }
            if at == 0 || at == count {
                spot.before = at == 0;
                if spot.kids[i].buf.has_slack() {
                    Arc::make_mut(&mut spot.kids[i]).buf.shrink();
                }
                spot.add.push((Chunk::of(value, &fill), 1));
                return;
            }
            // Halves, unless the element fits in neither: cutting where it goes would leave crumbs behind when many
            // are inserted about one place.
            let left = Arc::make_mut(&mut spot.kids[i]);
            let half = if alone { at } else { count / 2 };
            let mut right = left.split_off(half);
            let mut right_count = count - half;
            spot.counts[i] = half;
            if at <= half && fits(left, half) {
                left.insert(at, half, value);
                spot.counts[i] += 1;
            } else if at >= half && fits(&right, right_count) {
                right.insert(at - half, right_count, value);
                right_count += 1;
            } else {
                let (cut, part, n) =
                    if at <= half { (at, left, half) } else { (at - half, &mut right, right_count) };
                let rest = (cut < n).then(|| (part.split_off(cut), n - cut));
                let new = (Chunk::of(value, &fill), 1);
                if at <= half {
                    spot.counts[i] = cut;
                    spot.add.push(new);
                    spot.add.extend(rest);
                } else {
                    spot.add.push((right, cut));
                    spot.add.push(new);
                    spot.add.extend(rest);
                    return;
                }
            }
            spot.add.push((right, right_count));
        });
    }

    pub fn insert_before(&mut self, index: usize, value: &[u8]) {
        self.insert(index, value);
    }

    pub fn insert_after(&mut self, index: usize, value: &[u8]) {
        self.insert(index + 1, value);
    }

    pub fn remove(&mut self, index: i64) -> Option<Value> {
        self.take(self.resolve(index)?, |elem| elem.into())
    }

    /// Removes up to `count` elements from `start` on; whole chunks go whole. Returns how many.
    pub fn remove_range(&mut self, start: usize, count: usize) -> usize {
        let end = start.saturating_add(count).min(self.len);
        if start >= end {
            return 0;
        }
        if end - start == self.len {
            *self = Self::new(self.fill);
        } else if let Some(root) = &mut self.root {
            let mut mem = 0;
            Arc::make_mut(root).remove_range(start, end, &self.fill, &mut mem);
            self.settle(mem);
        }
        end - start
    }

    /// Keeps the elements `start..end` only.
    pub fn trim(&mut self, start: usize, end: usize) {
        let end = end.min(self.len);
        if start >= end {
            *self = Self::new(self.fill);
            return;
        }
        self.remove_range(end, self.len - end);
        self.remove_range(0, start);
    }

    /// Removes up to `max` elements equal to `value`, from the head or (`backward`) from the tail. Returns how many.
    pub fn remove_value(&mut self, value: &[u8], max: usize, backward: bool) -> usize {
        let mut removed = 0;
        let mut at = if backward { self.len } else { 0 };
        while removed < max {
            // Look first, so that chunks without a match are neither written nor, under a pin, copied.
            let index = if backward { at.checked_sub(1) } else { Some(at) };
            let Some((chunk, offset, count)) = index.and_then(|i| self.chunk_at(i)) else { break };
            let first = index.unwrap_or(0) - offset;
            let hits = chunk.count_of(value).min(max - removed);
            if hits > 0 {
                self.edit(first, &mut |spot| {
                    spot.counts[spot.i] -= hits;
                    if spot.counts[spot.i] > 0 {
                        Arc::make_mut(&mut spot.kids[spot.i]).remove_value(value, hits, backward);
                    }
                });
                removed += hits;
            }
            at = if backward { first } else { first + count - hits };
        }
        removed
    }

    /// The first element equal to `value` at or after `from` (LPOS).
    pub fn find(&self, value: &[u8], from: usize) -> Option<usize> {
        let mut from = from;
        loop {
            let (chunk, at, count) = self.chunk_at(from)?;
            if let Some(found) = chunk.find(value, at) {
                return Some(from - at + found);
            }
            from += count - at;
        }
    }

    /// The last element equal to `value` before `end`.
    pub fn rfind(&self, value: &[u8], end: usize) -> Option<usize> {
        let end = end.min(self.len);
        self.iter_back(end).position(|elem| elem.eq_bytes(value)).map(|i| end - 1 - i)
    }

    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0)
    }

    /// From the element at `index` to the tail.
    pub fn iter_from(&self, index: usize) -> Iter<'_> {
        Iter {
            deque: self,
            next: index,
            left: self.len.saturating_sub(index),
            step: Step::None,
            forward: true,
        }
    }

    /// From the element before `end` to the head.
    pub fn iter_back(&self, end: usize) -> Iter<'_> {
        let end = end.min(self.len);
        Iter { deque: self, next: end.wrapping_sub(1), left: end, step: Step::None, forward: false }
    }

    /// The chunks from head to tail.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkView<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (chunk, _, count) = self.chunk_at(at)?;
            at += count;
            Some(if chunk.plain { ChunkView::Plain(chunk) } else { ChunkView::Packed(chunk) })
        })
    }

    /// As `chunks`, for one: the chunk that holds an element, the element's place in it and how many it holds.
    #[inline]
    pub fn chunk_of(&self, index: usize) -> Option<(ChunkView<'_>, usize, usize)> {
        let (chunk, at, count) = self.chunk_at(index)?;
        let view = if chunk.plain { ChunkView::Plain(chunk) } else { ChunkView::Packed(chunk) };
        Some((view, at, count))
    }

    /// The chunk that holds an element, the element's place in it and how many it holds.
    fn chunk_at(&self, index: usize) -> Option<(&Chunk, usize, usize)> {
        if index >= self.len {
            return None;
        }
        let mut inner = self.root.as_deref()?;
        let mut at = index;
        loop {
            let (i, rest) = inner.child_at(at);
            at = rest;
            match &inner.kids {
                Kids::Chunks(kids) => return Some((&kids[i], at, inner.counts[i])),
                Kids::Inners(kids) => inner = &kids[i],
            }
        }
    }

    /// Runs `f` where the element at `index` is (the head of nothing, when empty) and puts the tree in order again.
    fn edit(&mut self, index: usize, f: &mut dyn FnMut(&mut Spot)) {
        let mut mem = 0;
        let root = self.root.get_or_insert_with(|| {
            mem += Inner::MEM;
            Arc::new(Inner { counts: Slots::new(), kids: Kids::Chunks(Slots::new()) })
        });
        if let Some(right) = Arc::make_mut(root).edit(index, &self.fill, f, &mut mem) {
            let mut top = Inner { counts: Slots::new(), kids: Kids::Inners(Slots::new()) };
            let mut kids = Slots::new();
            for kid in [root.clone(), Arc::new(right)] {
                top.counts.push(kid.total());
                kids.push(kid);
            }
            top.kids = Kids::Inners(kids);
            mem += Inner::MEM;
            *root = Arc::new(top);
        }
        self.settle(mem);
    }

    /// Brings length and memory up to date and drops root levels that have become pointless.
    fn settle(&mut self, mem: isize) {
        self.mem = self.mem.wrapping_add_signed(mem);
        self.len = self.root.as_ref().map_or(0, |root| root.total());
        if self.len == 0 {
            *self = Self::new(self.fill);
        }
        while let Some(Kids::Inners(kids)) = self.root.as_ref().map(|root| &root.kids)
            && kids.len() == 1
        {
            self.root = Some(kids[0].clone());
            self.mem = self.mem.wrapping_add_signed(-Inner::MEM);
        }
    }
}

/// Elements one way; `len()` is exact.
pub struct Iter<'a> {
    deque: &'a Deque,
    /// Index of the next element; meaningless once `left` is 0.
    next: usize,
    left: usize,
    step: Step<'a>,
    forward: bool,
}

/// What remains of the chunk at hand.
enum Step<'a> {
    None,
    Packed(Listpack<'a>, listpack::Pos),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Elem<'a>;

    fn next(&mut self) -> Option<Elem<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (pack, pos) = match self.step {
            Step::Packed(pack, pos) => (pack, pos),
            Step::None => {
                crate::base::priority::pass();
                let (chunk, at, _) = self.deque.chunk_at(self.next)?;
                match chunk.packed() {
                    Some(pack) => (pack, pack.seek(at as i64)?),
                    None => {
                        self.advance();
                        return Some(Elem::Str(chunk));
                    }
                }
            }
        };
        self.advance();
        let following = if self.forward { pack.next(pos) } else { pack.prev(pos) };
        self.step = following.map_or(Step::None, |next| Step::Packed(pack, next));
        Some(pack.get(pos))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Iter<'_> {
    fn advance(&mut self) {
        self.next = if self.forward { self.next + 1 } else { self.next.wrapping_sub(1) };
    }
}

const FANOUT: usize = 60;

#[derive(Clone)]
struct Inner {
    counts: Slots<usize, FANOUT>,
    kids: Kids,
}

#[derive(Clone)]
enum Kids {
    Chunks(Slots<Arc<Chunk>, FANOUT>),
    Inners(Slots<Arc<Inner>, FANOUT>),
}

/// Where an edit happens: child `i` of these, element `at` in it. It may change that chunk and the next one, with their
/// counts; a count of 0 removes its chunk.
struct Spot<'a> {
    kids: &'a mut Slots<Arc<Chunk>, FANOUT>,
    counts: &'a mut Slots<usize, FANOUT>,
    i: usize,
    at: usize,
    /// New chunks, to come after child `i`, or before it.
    add: SmallVec<[(Chunk, usize); 3]>,
    before: bool,
}

impl Inner {
    const MEM: isize = (size_of::<Inner>() + 2 * size_of::<usize>()).next_multiple_of(16) as isize;

    fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// All that is allocated here and below.
    fn mem(&self) -> isize {
        Self::MEM
            + match &self.kids {
                Kids::Chunks(kids) => kids.iter().map(|k| k.mem()).sum::<isize>(),
                Kids::Inners(kids) => kids.iter().map(|k| k.mem()).sum(),
            }
    }

    #[inline]
    fn child_at(&self, mut at: usize) -> (usize, usize) {
        let last = self.counts.len().saturating_sub(1);
        for (i, &count) in self.counts[..last].iter().enumerate() {
            if at < count {
                return (i, at);
            }
            at -= count;
        }
        (last, at)
    }

    /// Runs `f` with the chunk at an end and its count, which changes by what `f` returns.
    fn edit_end(
        &mut self,
        front: bool,
        f: &mut impl FnMut(&mut Arc<Chunk>, usize) -> Option<isize>,
    ) -> Option<isize> {
        let i = if front { 0 } else { self.counts.len() - 1 };
        let more = match &mut self.kids {
            Kids::Chunks(kids) => f(&mut kids[i], self.counts[i])?,
            Kids::Inners(kids) => Arc::make_mut(&mut kids[i]).edit_end(front, f)?,
        };
        self.counts[i] = self.counts[i].wrapping_add_signed(more);
        Some(more)
    }

    /// Returns the right half of this node if it had to be split.
    fn edit(
        &mut self,
        index: usize,
        fill: &Fill,
        f: &mut dyn FnMut(&mut Spot),
        mem: &mut isize,
    ) -> Option<Inner> {
        let (i, at) = self.child_at(index);
        match &mut self.kids {
            Kids::Chunks(kids) => {
                let had = self.counts.get(i).copied().unwrap_or(0);
                let pair = |kids: &[Arc<Chunk>]| kids.iter().skip(i).take(2).map(|k| k.mem()).sum::<isize>();
                *mem -= pair(kids);
                let mut spot =
                    Spot { kids, counts: &mut self.counts, i, at, add: SmallVec::new(), before: false };
                f(&mut spot);
                let (add, before) = (spot.add, spot.before);
                *mem += pair(kids);
                if add.is_empty() {
                    if self.counts[i] < had {
                        mend_chunks(kids, &mut self.counts, i, fill, mem);
                    }
                    return None;
                }
                let place = if before || kids.is_empty() { i } else { i + 1 };
                *mem += add.iter().map(|(chunk, _)| chunk.mem()).sum::<isize>();
                let mut right = (kids.len() + add.len() > FANOUT).then(|| self.split(place, mem));
                let (node, place) = self.side(&mut right, place, add.len());
                for (chunk, count) in add.into_iter().rev() {
                    node.counts.insert(place, count);
                    if let Kids::Chunks(kids) = &mut node.kids {
                        kids.insert(place, Arc::new(chunk));
                    }
                }
                right
            }
            Kids::Inners(kids) => {
                let new = Arc::make_mut(&mut kids[i]).edit(at, fill, f, mem);
                self.counts[i] = kids[i].total();
                let Some(new) = new else {
                    self.mend_inners(i, mem);
                    return None;
                };
                let mut right = (kids.len() == FANOUT).then(|| self.split(i + 1, mem));
                let (node, place) = self.side(&mut right, i + 1, 1);
                node.counts.insert(place, new.total());
                if let Kids::Inners(kids) = &mut node.kids {
                    kids.insert(place, Arc::new(new));
                }
                right
            }
        }
    }

    /// Which half `n` children for `place` go to after a split, and where in it.
    fn side<'a>(
        &'a mut self,
        right: &'a mut Option<Inner>,
        place: usize,
        n: usize,
    ) -> (&'a mut Inner, usize) {
        let len = self.counts.len();
        match right {
            Some(right) if place > len || len + n > FANOUT => (right, place - len),
            _ => (self, place),
        }
    }

    /// After child `i` shrank: removes it if it is empty, joins it with a neighbour if they fill one node together.
    fn mend_inners(&mut self, i: usize, mem: &mut isize) {
        let Kids::Inners(kids) = &mut self.kids else { return };
        let len = kids[i].counts.len();
        if len == 0 {
            kids.remove(i);
            self.counts.remove(i);
            *mem -= Self::MEM;
        } else if len * 4 < FANOUT {
            let fits = |j: usize| kids.get(j).is_some_and(|k| k.counts.len() + len <= FANOUT);
            let left = if fits(i + 1) {
                i
            } else if i > 0 && fits(i - 1) {
                i - 1
            } else {
                return;
            };
            let mut right = kids.remove(left + 1);
            let (l, r) = (Arc::make_mut(&mut kids[left]), Arc::make_mut(&mut right));
            let n = r.counts.len();
            l.counts.take_left(&mut r.counts, n);
            match (&mut l.kids, &mut r.kids) {
                (Kids::Chunks(l), Kids::Chunks(r)) => l.take_left(r, n),
                (Kids::Inners(l), Kids::Inners(r)) => l.take_left(r, n),
                _ => unreachable!("neighbours are of one depth"),
            }
            self.counts[left] += self.counts[left + 1];
            self.counts.remove(left + 1);
            *mem -= Self::MEM;
        }
    }

    /// Removes the elements `start..end`, which are not all.
    fn remove_range(&mut self, start: usize, end: usize, fill: &Fill, mem: &mut isize) {
        let (mut whole, mut partly) = (0..0, SmallVec::<[(usize, usize, usize); 2]>::new());
        let (mut i, from) = self.child_at(start);
        let mut base = start - from;
        while base < end && i < self.counts.len() {
            let count = self.counts[i];
            let (from, to) = (start.saturating_sub(base), (end - base).min(count));
            if to - from < count {
                partly.push((i, from, to));
            } else {
                whole = if whole.is_empty() { i..i + 1 } else { whole.start..i + 1 };
            }
            base += count;
            i += 1;
        }
        // Right one first, whole ones last: so the places hold.
        for (i, from, to) in partly.iter().rev().copied() {
            self.counts[i] -= to - from;
            match &mut self.kids {
                Kids::Chunks(kids) => {
                    *mem -= kids[i].mem();
                    Arc::make_mut(&mut kids[i]).remove(from, to - from);
                    *mem += kids[i].mem();
                }
                Kids::Inners(kids) => Arc::make_mut(&mut kids[i]).remove_range(from, to, fill, mem),
            }
        }
        match &mut self.kids {
            Kids::Chunks(kids) => kids.remove_range(whole.start, whole.end, |k| *mem -= k.mem()),
            Kids::Inners(kids) => kids.remove_range(whole.start, whole.end, |k| *mem -= k.mem()),
        }
        self.counts.remove_range(whole.start, whole.end, drop);
        for (i, ..) in partly.into_iter().rev() {
            let i = if i >= whole.end { i - whole.len() } else { i };
            match &mut self.kids {
                Kids::Chunks(kids) => mend_chunks(kids, &mut self.counts, i, fill, mem),
                Kids::Inners(_) => self.mend_inners(i, mem),
            }
        }
    }

    /// Splits for an insertion at `place`: in the middle, or at an end that is being pushed to.
    fn split(&mut self, place: usize, mem: &mut isize) -> Inner {
        let len = self.counts.len();
        let keep = if place == 0 || place == len { place } else { len / 2 };
        let n = len - keep;
        *mem += Self::MEM;
        let mut right = Inner { counts: Slots::new(), kids: Kids::Chunks(Slots::new()) };
        self.counts.give_right(&mut right.counts, n);
        right.kids = match &mut self.kids {
            Kids::Chunks(kids) => {
                let mut moved = Slots::new();
                kids.give_right(&mut moved, n);
                Kids::Chunks(moved)
            }
            Kids::Inners(kids) => {
                let mut moved = Slots::new();
                kids.give_right(&mut moved, n);
                Kids::Inners(moved)
            }
        };
        right
    }
}

/// After chunk `i` shrank: removes it if it is empty, joins it with a neighbour if it is small and they fit in one.
fn mend_chunks(
    kids: &mut Slots<Arc<Chunk>, FANOUT>,
    counts: &mut Slots<usize, FANOUT>,
    i: usize,
    fill: &Fill,
    mem: &mut isize,
) {
    if counts[i] == 0 {
        *mem -= kids.remove(i).mem();
        counts.remove(i);
        return;
    }
    if kids[i].plain || kids[i].len() * 4 > fill.max_bytes {
        return;
    }
    let fits = |left: usize| match (kids.get(left), kids.get(left + 1)) {
        (Some(l), Some(r)) => {
            !l.plain && !r.plain && fill.allows(l.len() + r.len(), counts[left] + counts[left + 1])
        }
        _ => false,
    };
    let left = if fits(i) {
        i
    } else if i > 0 && fits(i - 1) {
        i - 1
    } else {
        return;
    };
    let right = kids.remove(left + 1);
    *mem -= right.mem() + kids[left].mem();
    let chunk = Arc::make_mut(&mut kids[left]);
    listpack::append(chunk, right.pack());
    *mem += chunk.mem();
    counts[left] += counts[left + 1];
    counts.remove(left + 1);
}

#[derive(Clone)]
struct Chunk {
    buf: Buf,
    plain: bool,
}

impl Chunk {
    /// A chunk of one element.
    fn of(value: &[u8], fill: &Fill) -> Chunk {
        if value.len() >= fill.plain_threshold {
            return Chunk { buf: Buf::new(value), plain: true };
        }
        let mut chunk = Chunk { buf: Buf::new(listpack::empty()), plain: false };
        listpack::push_back(&mut chunk, value);
        chunk
    }

    fn mem(&self) -> isize {
        const NODE: usize = (size_of::<Chunk>() + 2 * size_of::<usize>()).next_multiple_of(16);
        (NODE + class(self.buf.data.len())) as isize
    }

    fn packed(&self) -> Option<Listpack<'_>> {
        (!self.plain).then(|| Listpack::new(self))
    }

    /// The listpack, an empty one for a raw element.
    fn pack(&self) -> Listpack<'_> {
        self.packed().unwrap_or_else(|| Listpack::new(listpack::empty()))
    }

    fn get(&self, at: usize) -> Option<Elem<'_>> {
        match self.packed() {
            Some(pack) => pack.seek(at as i64).map(|pos| pack.get(pos)),
            None => (at == 0).then_some(Elem::Str(self)),
        }
    }

    /// Inserts into a packed chunk of `count` before the element at `at`.
    fn insert(&mut self, at: usize, count: usize, value: &[u8]) {
        if at == count {
            listpack::push_back(self, value);
        } else if at == 0 {
            listpack::push_front(self, value);
        } else if let Some(pos) = self.pack().seek(at as i64) {
            listpack::insert(self, pos, value);
        }
    }

    /// Removes elements, but not all.
    fn remove(&mut self, at: usize, count: usize) {
        if let Some(pos) = self.pack().seek(at as i64) {
            listpack::remove_range(self, pos, count);
            self.buf.relax();
        }
    }

    /// Moves the elements from `at` on, neither none nor all, into a chunk of their own.
    fn split_off(&mut self, at: usize) -> Chunk {
        let mut right = Chunk { buf: Buf::new(listpack::empty()), plain: false };
        if let Some(pos) = self.pack().seek(at as i64) {
            right.buf = Buf::new(&listpack::split_off(self, pos));
            self.buf.shrink();
        }
        right
    }

    fn find(&self, value: &[u8], from: usize) -> Option<usize> {
        let Some(pack) = self.packed() else { return (from == 0 && **self == *value).then_some(0) };
        let start = pack.seek(from as i64)?;
        let found = pack.find(value, 0, Some(start))?;
        pack.iter_from(Some(start))
            .position(|elem| elem.eq_bytes(value))
            .filter(|_| found >= start)
            .map(|i| from + i)
    }

    fn count_of(&self, value: &[u8]) -> usize {
        self.packed().map_or_else(|| usize::from(**self == *value), |pack| count_of(pack, value))
    }

    /// Removes the first or last `hits` elements equal to `value`, which are there and not all of the chunk.
    fn remove_value(&mut self, value: &[u8], hits: usize, backward: bool) {
        let total = count_of(self.pack(), value);
        self.buf = Buf::new(&without(self.pack(), value, total, hits, backward));
    }
}

/// Elements equal to `value`.
pub fn count_of(pack: Listpack<'_>, value: &[u8]) -> usize {
    let (mut hits, mut from) = (0, pack.first());
    while let Some(found) = from.and_then(|from| pack.find(value, 0, Some(from))) {
        hits += 1;
        from = pack.next(found);
    }
    hits
}

/// The listpack without the first or the last `hits` of its `total` elements equal to `value`. One pass, where removing
/// each would move the rest each time.
pub fn without(pack: Listpack<'_>, value: &[u8], total: usize, hits: usize, backward: bool) -> Vec<u8> {
    let gone = if backward { total - hits..total } else { 0..hits };
    let mut kept = Vec::with_capacity(pack.bytes_len());
    kept.extend_from_slice(listpack::empty());
    let mut seen = 0;
    for elem in pack.iter() {
        if seen < gone.end {
            let hit = elem.eq_bytes(value);
            seen += usize::from(hit);
            if hit && gone.contains(&(seen - 1)) {
                continue;
            }
        }
        match elem {
            Elem::Int(n) => listpack::push_back_int(&mut kept, n),
            Elem::Str(text) => listpack::push_back(&mut kept, text),
        }
    }
    kept
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buf.data[self.buf.start..self.buf.end]
    }
}

impl Blob for Chunk {
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buf.data[self.buf.start..self.buf.end]
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        self.buf.splice(at, remove, insert);
    }
}

/// Bytes with room to grow at either end: what lies in `start..end` of the allocation.
#[derive(Clone)]
struct Buf {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buf {
    fn new(bytes: &[u8]) -> Buf {
        Buf { data: bytes.into(), start: 0, end: bytes.len() }
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        let len = self.end - self.start;
        assert!(at + remove <= len);
        // The shorter side moves, which at the ends is next to nothing.
        let ahead = at < len - at - remove;
        if let Some(grow) = insert.len().checked_sub(remove) {
            if grow > if ahead { self.start } else { self.data.len() - self.end } {
                let need = len + grow;
                if need <= self.data.len() {
                    self.slide(ahead);
                } else {
                    // A chunk that grows at an end will go on to; one inserted into may stay as it is.
                    let at_end = at <= listpack::empty().len() || at + remove + 1 >= len;
                    let double = if at_end { need.next_power_of_two().clamp(64, 1 << 16) } else { 0 };
                    self.resize(class(need).max(double), ahead);
                }
            }
            if ahead {
                self.data.copy_within(self.start..self.start + at, self.start - grow);
                self.start -= grow;
            } else {
                self.data.copy_within(self.start + at + remove..self.end, self.start + at + insert.len());
                self.end += grow;
            }
        } else {
            let shrink = remove - insert.len();
            if ahead {
                self.data.copy_within(self.start..self.start + at, self.start + shrink);
                self.start += shrink;
            } else {
                self.data.copy_within(self.start + at + remove..self.end, self.start + at + insert.len());
                self.end -= shrink;
            }
        }
        self.data[self.start + at..][..insert.len()].copy_from_slice(insert);
    }

    /// Moves all spare room to the front or to the back.
    fn slide(&mut self, front: bool) {
        let len = self.end - self.start;
        let to = if front { self.data.len() - len } else { 0 };
        self.data.copy_within(self.start..self.end, to);
        (self.start, self.end) = (to, to + len);
    }

    fn resize(&mut self, capacity: usize, front: bool) {
        let len = self.end - self.start;
        let mut data = Vec::with_capacity(capacity);
        let start = if front { capacity - len } else { 0 };
        data.resize(start, 0);
        data.extend_from_slice(&self.data[self.start..self.end]);
        data.resize(capacity, 0);
        *self = Buf { data: data.into(), start, end: start + len };
    }

    /// Gives back spare room if an allocation class can be saved.
    fn shrink(&mut self) {
        if self.has_slack() {
            self.resize(class(self.end - self.start), false);
        }
    }

    fn has_slack(&self) -> bool {
        class(self.end - self.start) < self.data.len()
    }

    /// Gives back spare room where most is spare, keeping enough that growing does not undo it at once.
    fn relax(&mut self) {
        let len = self.end - self.start;
        if self.data.len() > 128 && len * 4 < self.data.len() {
            self.resize(class(len * 2), false);
        }
    }
}

/// The allocation class of a size: steps of 16 to 128, then four to a doubling.
const fn class(size: usize) -> usize {
    if size <= 128 {
        return size.next_multiple_of(16);
    }
    let step = (size - 1).ilog2() - 2;
    size.next_multiple_of(1 << step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Checks every invariant of the module's `//!`, and the account of memory.
    fn check(deque: &Deque) {
        fn node(inner: &Inner, fill: &Fill) -> usize {
            assert!(!inner.counts.is_empty());
            let mut depth = None;
            for (i, &count) in inner.counts.iter().enumerate() {
                assert!(count > 0);
                let below = match &inner.kids {
                    Kids::Chunks(kids) => {
                        assert_eq!(kids.len(), inner.counts.len());
                        let chunk = &kids[i];
                        if chunk.plain {
                            assert_eq!(count, 1);
                        } else {
                            assert!(Listpack::validate(chunk, true));
                            assert_eq!(chunk.pack().len(), count);
                            assert!(count == 1 || fill.allows(chunk.len(), count));
                        }
                        0
                    }
                    Kids::Inners(kids) => {
                        assert_eq!(kids.len(), inner.counts.len());
                        assert_eq!(kids[i].total(), count);
                        1 + node(&kids[i], fill)
                    }
                };
                assert_eq!(*depth.get_or_insert(below), below);
            }
            depth.unwrap()
        }
        match &deque.root {
            None => assert_eq!((deque.len, deque.mem), (0, 0)),
            Some(root) => {
                node(root, &deque.fill);
                assert_eq!(root.total(), deque.len);
                assert_eq!(root.mem(), deque.mem as isize);
            }
        }
    }

    fn contents<'a>(iter: impl Iterator<Item = Elem<'a>>) -> Vec<Vec<u8>> {
        iter.map(|e| e.to_vec()).collect()
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(bool, usize, Vec<u8>),
        Pop(bool, usize),
        Insert(usize, usize, Vec<u8>),
        Set(usize, Vec<u8>),
        RemoveRange(usize, usize),
        RemoveValue(usize, usize, bool),
        Trim(usize, usize),
        Pin,
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (-5i64..70_000).prop_map(|n| n.to_string().into_bytes()),
            4 => prop::collection::vec(any::<u8>(), 0..40),
            1 => (any::<u8>(), 100..400usize).prop_map(|(b, n)| vec![b; n]),
            1 => (any::<u8>(), 400..900usize).prop_map(|(b, n)| vec![b; n]),
        ]
    }

    fn ops() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (any::<bool>(), 1..400usize, value()).prop_map(|(f, n, v)| Op::Push(f, n, v)),
            2 => (any::<bool>(), 1..200usize).prop_map(|(f, n)| Op::Pop(f, n)),
            3 => (any::<usize>(), 1..60usize, value()).prop_map(|(i, n, v)| Op::Insert(i, n, v)),
            2 => (any::<usize>(), value()).prop_map(|(i, v)| Op::Set(i, v)),
            2 => (any::<usize>(), 0..600usize).prop_map(|(i, n)| Op::RemoveRange(i, n)),
            1 => (any::<usize>(), 1..50usize, any::<bool>()).prop_map(|(i, n, b)| Op::RemoveValue(i, n, b)),
            1 => (0..100usize, 0..100usize).prop_map(|(a, b)| Op::Trim(a, b)),
            1 => Just(Op::Pin),
        ]
    }

    fn fills() -> impl Strategy<Value = Fill> {
        prop_oneof![
            Just(Fill { max_bytes: 64, max_entries: usize::MAX, plain_threshold: 300 }),
            Just(Fill { max_bytes: 500, max_entries: usize::MAX, plain_threshold: 600 }),
            Just(Fill { max_bytes: 8192, max_entries: 2, plain_threshold: 600 }),
            Just(Fill::default()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn behaves_as_a_vec_deque(fill in fills(), ops in prop::collection::vec(ops(), 1..40)) {
            let mut deque = Deque::new(fill);
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            let mut pins = Vec::new();
            for op in ops {
                let len = model.len();
                match op {
                    Op::Push(front, n, v) => for i in 0..n {
                        let v = if i % 3 == 0 { v.clone() } else { i.to_string().into_bytes() };
                        if front {
                            deque.push_front(&v);
                            model.push_front(v);
                        } else {
                            deque.push_back(&v);
                            model.push_back(v);
                        }
                    },
                    Op::Pop(front, n) => for _ in 0..n {
                        let (got, want) = if front {
                            (deque.pop_front(), model.pop_front())
                        } else {
                            (deque.pop_back(), model.pop_back())
                        };
                        prop_assert_eq!(got.map(|v| v.to_vec()), want);
                    },
                    Op::Insert(at, n, v) => for i in 0..n {
                        let at = at % (len + 1) + if i % 2 == 0 { 0 } else { i };
                        deque.insert(at, &v);
                        model.insert(at, v.clone());
                    },
                    Op::Set(at, v) if len > 0 => {
                        let at = at % len;
                        let index = at as i64 - if at.is_multiple_of(2) { 0 } else { len as i64 };
                        prop_assert!(deque.set(index, &v));
                        model[at] = v;
                    }
                    Op::Set(..) => prop_assert!(!deque.set(-1, b"x")),
                    Op::RemoveRange(at, n) => {
                        let at = at % (len + 1);
                        let n = n.min(len - at);
                        prop_assert_eq!(deque.remove_range(at, n), n);
                        model.drain(at..at + n);
                    }
                    Op::RemoveValue(at, n, backward) if len > 0 => {
                        let v = model[at % len].clone();
                        let mut left = n;
                        let mut keep = |e: &Vec<u8>| { let hit = left > 0 && *e == v; left -= usize::from(hit); !hit };
                        if backward {
                            model = model.into_iter().rev().filter(|e| keep(e)).collect::<Vec<_>>().into_iter().rev().collect();
                        } else {
                            model.retain(|e| keep(e));
                        }
                        prop_assert_eq!(deque.remove_value(&v, n, backward), n - left);
                    }
                    Op::RemoveValue(..) => prop_assert_eq!(deque.remove_value(b"", 1, false), 0),
                    Op::Trim(a, b) => {
                        let (a, b) = (len * a / 400, len - len * b / 400);
                        deque.trim(a, b);
                        model = if a < b { model.drain(a..b).collect() } else { VecDeque::new() };
                    }
                    Op::Pin => pins.push((deque.pin(), model.clone())),
                }
                check(&deque);
                prop_assert_eq!(deque.len(), model.len());
                prop_assert!(contents(deque.iter()).iter().eq(&model));
                prop_assert!(contents(deque.iter_back(usize::MAX)).iter().rev().eq(&model));
                let at = model.len() / 3;
                prop_assert_eq!(deque.get(at as i64).map(|e| e.to_vec()), model.get(at).cloned());
                prop_assert!(contents(deque.iter_from(at)).iter().eq(model.range(at..)));
                if let Some(v) = model.get(at * 2) {
                    prop_assert_eq!(deque.find(v, at), model.range(at..).position(|e| e == v).map(|i| i + at));
                    prop_assert_eq!(deque.rfind(v, at), model.range(..at).rposition(|e| e == v));
                }
            }
            for (pin, then) in pins {
                check(&pin);
                prop_assert!(contents(pin.iter()).iter().eq(&then));
            }
            let mut copy = Deque::new(fill);
            for chunk in deque.chunks() {
                match chunk {
                    ChunkView::Packed(bytes) => copy.append_packed(bytes),
                    ChunkView::Plain(bytes) => copy.append_plain(bytes),
                }
            }
            check(&copy);
            prop_assert!(contents(copy.iter()).iter().eq(&model));
            if let Some(pack) = deque.to_listpack(usize::MAX, usize::MAX) {
                prop_assert!(contents(Listpack::new(&pack).iter()).iter().eq(&model));
                let back = Deque::from_listpack(fill, &pack);
                check(&back);
                prop_assert!(contents(back.iter()).iter().eq(&model));
            }
        }
    }

    #[test]
    fn chunks_are_tight() {
        for front in [false, true] {
            let mut deque = Deque::new(Fill::default());
            for n in 0..20_000 {
                let value = format!("member:{n:09}");
                if front { deque.push_front(value.as_bytes()) } else { deque.push_back(value.as_bytes()) }
            }
            check(&deque);
            let each = deque.mem_bytes() as f64 / deque.len() as f64;
            assert!(each < 19.0, "{each}");
        }
    }

    #[test]
    fn inserts_at_one_place_do_not_leave_crumbs() {
        let mut deque = Deque::new(Fill::default());
        for n in 0..2_000u32 {
            deque.push_back(format!("member:{n:09}").as_bytes());
        }
        for n in 0..2_000u32 {
            deque.insert_before(908, format!("before:{n:09}").as_bytes());
            deque.insert_after(453, format!("after::{n:09}").as_bytes());
        }
        check(&deque);
        assert!(deque.chunks().count() < 25, "{}", deque.chunks().count());
    }

    #[test]
    fn config_sizes() {
        assert_eq!(Fill::from_config(-2).max_bytes, 8192);
        assert_eq!(Fill::from_config(-5).max_bytes, 65536);
        assert_eq!(Fill::from_config(-1).max_bytes, 4096);
        assert_eq!(Fill::from_config(128).max_entries, 128);
    }
}
