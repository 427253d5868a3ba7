//! Streams: entries in packed blocks, and their consumer groups.
//!
//! Invariants: `len` is the number of live entries in the blocks; `first_id` is the first one's id, 0-0 when there is
//! none; live ids ascend and none is above `last_id`. `Clone` is a pin.
use super::cell::{Cell, Kind, Large};

pub mod block;
mod blocks;
pub mod group;
pub mod id;

use block::{Cursor, Entry, Fields};
use blocks::{Blocks, Place};
use group::Groups;
use id::StreamId;

/// When a new block is begun (stream-node-max-bytes, stream-node-max-entries); 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    pub max_bytes: usize,
    pub max_entries: usize,
}

/// The most bytes of fields and values in an entry, and of a block.
pub const ENTRY_BYTES_MAX: usize = super::listpack::BYTES_MAX;

/// See the module.
#[derive(Clone, Default)]
pub struct Stream {
    /// The highest id ever given: the next one is above it.
    pub last_id: StreamId,
    /// The first live entry's id.
    pub first_id: StreamId,
    /// The highest id that XDEL removed.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
    pub groups: Groups,
    len: u64,
    blocks: Blocks,
}

/// What a trim keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last so many entries.
    Len(u64),
    /// Entries with this id or a higher one.
    From(StreamId),
}

/// What is wrong with blocks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream's block is damaged")]
pub struct DamagedBlock;

impl Large for Stream {
    fn mem_bytes(&self) -> usize {
        size_of::<Self>() + self.blocks.mem_bytes() + self.groups.mem_bytes()
    }

    fn free_effort(&self) -> usize {
        self.blocks.len()
    }

    fn boxed_clone(&self) -> Box<dyn Large> {
        Box::new(self.clone())
    }
}

impl Stream {
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream as a key's value.
    pub fn into_cell(self, key: &[u8]) -> Cell {
        Cell::new_large(key, Kind::Stream, Box::new(self))
    }

    /// From blocks as an RDB file holds them, in order. Ids, counters and groups are the caller's to set: `last_id` is
    /// the last live entry's for now.
    pub fn from_blocks<'b>(
        blocks: impl IntoIterator<Item = (StreamId, &'b [u8])>,
    ) -> Result<Self, DamagedBlock> {
        let mut stream = Self::new();
        let mut master = None;
        for (id, bytes) in blocks {
            stream.push_block(master, id, bytes).ok_or(DamagedBlock)?;
            master = Some(id);
        }
        stream.blocks.shrink();
        stream.find_first();
        stream.entries_added = stream.len;
        Ok(stream)
    }

    fn push_block(&mut self, before: Option<StreamId>, master: StreamId, bytes: &[u8]) -> Option<()> {
        let (live, last) = block::check(master, bytes)?;
        if before.is_some_and(|before| master <= before) || (self.len > 0 && master <= self.last_id) {
            return None;
        }
        self.blocks.push(master, bytes.to_vec());
        self.len += live;
        self.last_id = last.unwrap_or(self.last_id);
        Some(())
    }

    /// The blocks in order: master id and listpack.
    pub fn blocks(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        let mut place = Place::FIRST;
        std::iter::from_fn(move || {
            let block = self.blocks.get(place)?;
            place = self.blocks.after(place);
            Some((block.master, block.bytes()))
        })
    }

    pub fn blocks_len(&self) -> usize {
        self.blocks.len()
    }

    /// Live entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last live entry's id.
    pub fn last_live_id(&self) -> Option<StreamId> {
        self.range_rev(StreamId::MIN, StreamId::MAX).next().map(|(id, _)| id)
    }

    /// The first entry's id, be it deleted; `MAX` when there is none: what Redis puts into a replicated MINID.
    pub fn first_id_or_tombstone(&self) -> StreamId {
        let first = self.blocks.get(Place::FIRST).and_then(|block| block.forward().next());
        first.map_or(StreamId::MAX, |entry| entry.id)
    }

    /// Live entries from `start` to `end`, both inclusive.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let place = self.blocks.seek(start);
        let cursor = self.blocks.get(place).map(|block| block.forward());
        Range { blocks: &self.blocks, place, cursor, start, end, reverse: false }
    }

    /// The same, from `end` down to `start`.
    pub fn range_rev(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let place = self.blocks.seek(end);
        let cursor = self.blocks.get(place).map(|block| block.backward());
        Range { blocks: &self.blocks, place, cursor, start, end, reverse: true }
    }

    /// About how many entries such a range has, for an estimate: not far less than there are, and at most `max`.
    pub fn count_at_most(&self, start: StreamId, end: StreamId, max: u64) -> u64 {
        let max = max.min(self.len);
        if max <= 1 || start > end {
            return max;
        }
        let blocks = self.blocks.distance(self.blocks.seek(start), self.blocks.seek(end)) as u64;
        max.min((blocks + 1).saturating_mul(self.len / self.blocks.len().max(1) as u64 + 1))
    }

    /// The live entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Fields<'_>> {
        self.range(id, id).next().map(|(_, fields)| fields)
    }

    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// Adds an entry; `parts` alternates fields and values, `id` is above `last_id`, and the parts' bytes are at most
    /// `ENTRY_BYTES_MAX`.
    pub fn append<'p>(
        &mut self,
        id: StreamId,
        parts: impl Iterator<Item = &'p [u8]> + Clone,
        limits: NodeLimits,
    ) {
        debug_assert!(id > self.last_id);
        let max_bytes =
            if limits.max_bytes == 0 { ENTRY_BYTES_MAX } else { limits.max_bytes.min(ENTRY_BYTES_MAX) };
        // After XSETID went below a block that holds only tombstones, that block is in the way.
        while let Some(last) = self.blocks.last()
            && last.master > id
        {
            self.blocks.remove(self.blocks.last_place());
        }
        let fits = self.blocks.last().is_some_and(|last| {
            let more: usize = parts.clone().map(<[u8]>::len).sum();
            last.bytes().len() + more < max_bytes
                && (limits.max_entries == 0 || last.live() + last.deleted() < limits.max_entries as u64)
        });
        match self.blocks.tail_mut() {
            Some((master, bytes)) if fits => block::append(bytes, master, id, parts),
            _ => self.blocks.push(id, block::start(parts)),
        }
        self.len += 1;
        self.entries_added += 1;
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
    }

    /// Removes an entry; false when there is none. Notes neither `max_deleted_id`, nor a new `first_id`: see
    /// [`Stream::note_deleted`].
    pub fn delete(&mut self, id: StreamId) -> bool {
        let place = self.blocks.seek(id);
        let Some(block) = self.blocks.get(place) else { return false };
        if block.live() == 1 {
            if !block.forward().any(|entry| !entry.deleted && entry.id == id) {
                return false;
            }
            self.blocks.remove(place);
        } else if self.blocks.edit(place, |master, bytes| block::delete(bytes, master, id)) != Some(true) {
            return false;
        }
        self.len -= 1;
        true
    }

    /// Entries were deleted, this the highest of them.
    pub fn note_deleted(&mut self, highest: StreamId) {
        self.max_deleted_id = self.max_deleted_id.max(highest);
        self.find_first();
    }

    /// Removes entries from the head: whole blocks, and unless `approximate` what is left within one. At most `limit`
    /// entries, if that is not 0. Returns how many.
    pub fn trim(&mut self, keep: Keep, approximate: bool, limit: u64) -> u64 {
        let mut removed = 0;
        while let Some(block) = self.blocks.get(Place::FIRST) {
            if matches!(keep, Keep::Len(max) if self.len <= max) {
                break;
            }
            let live = block.live();
            if limit > 0 && removed + live > limit {
                break;
            }
            let whole = match keep {
                Keep::Len(max) => self.len - live >= max,
                Keep::From(min) => block.backward().next().is_none_or(|last| last.id < min),
            };
            if whole {
                self.blocks.remove(Place::FIRST);
                self.len -= live;
                removed += live;
                continue;
            }
            if approximate {
                break;
            }
            let mut len = self.len;
            let goes = |entry: &Entry<'_>| {
                let goes = match keep {
                    Keep::Len(max) => len > max,
                    Keep::From(min) => entry.id < min,
                };
                len -= u64::from(goes && !entry.deleted);
                goes
            };
            let gone = self.blocks.edit(Place::FIRST, |master, bytes| block::trim(bytes, master, goes));
            removed += gone.unwrap_or(0);
            self.len -= gone.unwrap_or(0);
            break;
        }
        if removed > 0 || self.len == 0 {
            self.find_first();
        }
        removed
    }

    fn find_first(&mut self) {
        self.first_id = match self.len {
            0 => StreamId::MIN,
            _ => self.range(StreamId::MIN, StreamId::MAX).next().map_or(StreamId::MIN, |(id, _)| id),
        };
    }
}

/// Live entries one way; see [`Stream::range`].
#[derive(Clone)]
pub struct Range<'a> {
    blocks: &'a Blocks,
    place: Place,
    cursor: Option<Cursor<'a>>,
    start: StreamId,
    end: StreamId,
    reverse: bool,
}

impl<'a> Iterator for Range<'a> {
    type Item = (StreamId, Fields<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let cursor = self.cursor.as_mut()?;
            for entry in cursor {
                // Tombstones may be out of order, so they end nothing.
                if entry.deleted {
                    continue;
                }
                let (short, over) = (entry.id < self.start, entry.id > self.end);
                if if self.reverse { short } else { over } {
                    self.cursor = None;
                    return None;
                }
                if !short && !over {
                    return Some((entry.id, entry.fields));
                }
            }
            self.cursor = if self.reverse {
                let before = self.blocks.before(self.place);
                self.place = before.unwrap_or(self.place);
                before.and_then(|place| self.blocks.get(place)).map(|block| block.backward())
            } else {
                self.place = self.blocks.after(self.place);
                self.blocks.get(self.place).map(|block| block.forward())
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::listpack;
    use super::*;

    const LIMITS: NodeLimits = NodeLimits { max_bytes: 4096, max_entries: 100 };

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn filled(n: u64, limits: NodeLimits) -> Stream {
        let mut stream = Stream::new();
        for ms in 1..=n {
            let parts = ["f".to_owned(), ms.to_string()];
            stream.append(id(ms), parts.iter().map(String::as_bytes), limits);
        }
        stream
    }

    type Texts = Vec<(Vec<u8>, Vec<u8>)>;

    fn texts(fields: Fields<'_>) -> Texts {
        fields.map(|(f, v)| (f.to_vec(), v.to_vec())).collect()
    }

    fn ids(range: Range<'_>) -> Vec<u64> {
        range.map(|(id, _)| id.ms).collect()
    }

    /// The stream's blocks through the checked constructor, which must find the same entries in them.
    fn reread(stream: &Stream) -> Stream {
        let again = Stream::from_blocks(stream.blocks()).expect("our own blocks are good");
        assert_eq!((again.len(), again.first_id), (stream.len(), stream.first_id));
        let all = |s: &Stream| -> Vec<_> {
            s.range(StreamId::MIN, StreamId::MAX).map(|(id, f)| (id, texts(f))).collect()
        };
        assert_eq!(all(&again), all(stream));
        again
    }

    #[test]
    fn a_block_has_redis_bytes() {
        let mut stream = Stream::new();
        stream.append(StreamId::new(1000, 5), [&b"f"[..], b"12"].into_iter(), LIMITS);
        stream.append(StreamId::new(1001, 0), [&b"f"[..], b"x"].into_iter(), LIMITS);
        stream.append(StreamId::new(1001, 1), [&b"g"[..], b"y"].into_iter(), LIMITS);
        stream.delete(StreamId::new(1001, 0));
        let mut want = listpack::empty().to_vec();
        for n in [2, 1, 1] {
            listpack::push_back_int(&mut want, n);
        }
        listpack::push_back(&mut want, b"f");
        listpack::extend(&mut want, [&b"0"[..], b"2", b"0", b"0", b"12", b"4"]);
        listpack::extend(&mut want, [&b"3"[..], b"1", b"-5", b"x", b"4"]);
        listpack::extend(&mut want, [&b"0"[..], b"1", b"-4", b"1", b"g", b"y", b"6"]);
        let blocks: Vec<_> = stream.blocks().collect();
        assert_eq!(blocks, [(StreamId::new(1000, 5), &want[..])]);
    }

    #[test]
    fn blocks_are_cut_where_redis_cuts_them() {
        assert_eq!(filled(100, LIMITS).blocks_len(), 1);
        assert_eq!(filled(101, LIMITS).blocks_len(), 2);
        assert_eq!(filled(1000, NodeLimits { max_bytes: 0, max_entries: 0 }).blocks_len(), 1);
        assert_eq!(filled(50, NodeLimits { max_bytes: 1, max_entries: 0 }).blocks_len(), 50);
        // Deleted entries count as well.
        let mut stream = filled(99, LIMITS);
        (2..90).for_each(|ms| assert!(stream.delete(id(ms))));
        [100, 101].iter().for_each(|ms| stream.append(id(*ms), [&b"f"[..], b"v"].into_iter(), LIMITS));
        assert_eq!((stream.blocks_len(), stream.len()), (2, 13));
    }

    #[test]
    fn trims_go_by_blocks_or_exactly() {
        let ten = NodeLimits { max_bytes: 4096, max_entries: 10 };
        let mut stream = filled(55, ten);
        assert_eq!(stream.trim(Keep::Len(32), true, 0), 20);
        assert_eq!((stream.len(), stream.first_id, stream.blocks_len()), (35, id(21), 4));
        assert_eq!(stream.trim(Keep::Len(32), false, 0), 3);
        assert_eq!((stream.len(), stream.first_id), (32, id(24)));
        assert_eq!(stream.first_id_or_tombstone(), id(21));
        assert_eq!(stream.trim(Keep::From(id(31)), true, 5), 0);
        assert_eq!(stream.trim(Keep::From(id(31)), true, 0), 7);
        assert_eq!(stream.trim(Keep::From(id(33)), false, 0), 2);
        assert_eq!(stream.trim(Keep::Len(0), false, 0), 23);
        assert_eq!((stream.first_id, stream.blocks_len(), stream.entries_added), (id(0), 0, 55));
    }

    #[test]
    fn a_pin_is_isolated_and_cheap() {
        let mut stream = filled(10_000, LIMITS);
        let pin = stream.clone();
        stream.trim(Keep::Len(10), false, 0);
        stream.append(id(20_000), [&b"f"[..], b"v"].into_iter(), LIMITS);
        stream.delete(id(9_995));
        assert_eq!((pin.len(), stream.len()), (10_000, 10));
        assert_eq!(
            ids(pin.range(id(9_994), StreamId::MAX)),
            [9_994, 9_995, 9_996, 9_997, 9_998, 9_999, 10_000]
        );
        assert_eq!(ids(pin.range_rev(StreamId::MIN, id(3))), [3, 2, 1]);
        reread(&pin);
        reread(&stream);
    }

    #[test]
    fn ids_may_be_taken_back_below_tombstones() {
        let mut stream = filled(3, NodeLimits { max_bytes: 4096, max_entries: 2 });
        assert!(stream.delete(id(3)));
        assert!(stream.delete(id(2)) && !stream.delete(id(2)));
        stream.last_id = id(1);
        stream.append(id(2), [&b"f"[..], b"again"].into_iter(), LIMITS);
        assert_eq!(texts(stream.get(id(2)).unwrap()), [(b"f".to_vec(), b"again".to_vec())]);
        assert_eq!(ids(stream.range_rev(StreamId::MIN, StreamId::MAX)), [2, 1]);
        reread(&stream);
        // A block of tombstones only, which an id below its own comes after.
        let mut stream = filled(4, LIMITS);
        stream.trim(Keep::From(id(3)), false, 0);
        stream.delete(id(4));
        stream.trim(Keep::From(id(4)), false, 0);
        assert_eq!((stream.len(), stream.blocks_len()), (0, 1));
        stream.last_id = id(0);
        stream.append(StreamId::new(0, 7), [&b"f"[..], b"v"].into_iter(), LIMITS);
        assert_eq!(ids(stream.range(StreamId::MIN, StreamId::MAX)), [0]);
        reread(&stream);
    }

    #[test]
    fn memory_is_counted() {
        let (few, many) = (filled(1_000, LIMITS).mem_bytes(), filled(10_000, LIMITS).mem_bytes());
        assert!(many > 8 * few && many < 12 * few);
        let mut stream = filled(10_000, LIMITS);
        stream.trim(Keep::Len(0), false, 0);
        assert!(stream.mem_bytes() < few);
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let stream = filled(5, LIMITS);
        let (master, good) = stream.blocks().next().map(|(m, b)| (m, b.to_vec())).unwrap();
        let refused = |bytes: &[u8]| Stream::from_blocks([(master, bytes)]).is_err();
        assert!(!refused(&good));
        assert!(refused(b"") && refused(listpack::empty()));
        (0..good.len()).for_each(|cut| assert!(refused(&good[..cut])));
        let with = |elems: &[&str]| {
            let mut bytes = listpack::empty().to_vec();
            listpack::extend(&mut bytes, elems.iter().map(|e| e.as_bytes()));
            bytes
        };
        assert!(!refused(&with(&["1", "0", "1", "f", "0", "2", "0", "0", "v", "4"])));
        for wrong in [
            &["2", "0", "1", "f", "0", "2", "0", "0", "v", "4"][..],
            &["1", "1", "1", "f", "0", "2", "0", "0", "v", "4"],
            &["0", "0", "9223372036854775807", "f", "0"],
            &["0", "0", "-1", "0"],
            &["1", "0", "1", "f", "1", "2", "0", "0", "v", "4"],
            &["1", "0", "1", "f", "0", "2", "0", "0", "v", "5"],
            &["1", "0", "1", "f", "0", "2", "0", "0", "v"],
            &["1", "0", "1", "f", "0", "0", "0", "0", "9223372036854775807", "v", "4"],
            &["1", "0", "1", "f", "0", "0", "0", "0", "-3", "v", "4"],
            &["1", "0", "1", "f", "0", "x", "0", "0", "v", "4"],
            &["1", "0", "1", "f", "0", "2", "-1", "0", "v", "4"],
            &["2", "0", "1", "f", "0", "2", "1", "0", "v", "4", "2", "1", "0", "v", "4"],
            &["x", "0", "1", "f", "0", "2", "0", "0", "v", "4"],
        ] {
            assert!(refused(&with(wrong)), "{wrong:?}");
        }
        let twice = [(master, &good[..]), (master, &good[..])];
        assert!(Stream::from_blocks(twice).is_err());
        assert!(Stream::from_blocks([(id(1), &good[..]), (id(3), &good[..])]).is_err());
        assert!(Stream::from_blocks([(id(1), &good[..]), (id(6), &good[..])]).is_ok());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Add(u64, u64, Vec<(u8, Vec<u8>)>),
        Delete(usize),
        TrimLen(u64, bool),
        TrimFrom(usize, bool),
        Reread,
    }

    fn op() -> impl Strategy<Value = Op> {
        let value = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            (any::<i64>(), 0..64u32).prop_map(|(n, s)| (n >> s).to_string().into_bytes()),
        ];
        prop_oneof![
            20 => (0..3u64, 0..300u64, prop::collection::vec((0..3u8, value), 1..4))
                .prop_map(|(ms, seq, fields)| Op::Add(ms, seq, fields)),
            8 => any::<usize>().prop_map(Op::Delete),
            1 => (0..60u64, any::<bool>()).prop_map(|(n, a)| Op::TrimLen(n, a)),
            1 => (any::<usize>(), any::<bool>()).prop_map(|(i, a)| Op::TrimFrom(i, a)),
            1 => Just(Op::Reread),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn behaves_as_a_map(ops in prop::collection::vec(op(), 1..150), max_entries in 1..12usize, bounds in any::<[u8; 4]>()) {
            let limits = NodeLimits { max_bytes: 500, max_entries };
            let (mut stream, mut model) = (Stream::new(), BTreeMap::<StreamId, Texts>::new());
            for op in ops {
                match op {
                    Op::Add(ms, seq, fields) => {
                        let last = stream.last_id;
                        let id = if ms == 0 { StreamId::new(last.ms, last.seq + 1 + seq) } else { StreamId::new(last.ms + ms, seq) };
                        let fields: Texts = fields.into_iter().map(|(f, v)| (vec![b'a' + f], v)).collect();
                        let parts: Vec<&[u8]> = fields.iter().flat_map(|(f, v)| [&f[..], v]).collect();
                        stream.append(id, parts.iter().copied(), limits);
                        model.insert(id, fields);
                    }
                    Op::Delete(i) if !model.is_empty() => {
                        let id = *model.keys().nth(i % model.len()).unwrap();
                        prop_assert!(stream.delete(id) && !stream.delete(id));
                        stream.note_deleted(id);
                        model.remove(&id);
                    }
                    Op::TrimLen(n, approximate) => {
                        let removed = stream.trim(Keep::Len(n), approximate, 0);
                        prop_assert!(approximate || stream.len() <= n);
                        prop_assert!(removed == 0 || stream.len() >= n);
                        (0..removed).for_each(|_| { model.pop_first(); });
                    }
                    Op::TrimFrom(i, approximate) if !model.is_empty() => {
                        let id = *model.keys().nth(i % model.len()).unwrap();
                        let removed = stream.trim(Keep::From(id), approximate, 0);
                        (0..removed).for_each(|_| { model.pop_first(); });
                        prop_assert!(approximate || model.keys().next() == Some(&id));
                    }
                    Op::Reread => {
                        let (last, again) = (stream.last_id, reread(&stream));
                        stream = Stream { last_id: last, ..again };
                    }
                    _ => {}
                }
                prop_assert_eq!(stream.len(), model.len() as u64);
                prop_assert_eq!(stream.first_id, model.keys().next().copied().unwrap_or_default());
                prop_assert_eq!(stream.last_live_id(), model.keys().next_back().copied());
            }
            let all: Vec<_> = stream.range(StreamId::MIN, StreamId::MAX).map(|(id, f)| (id, texts(f))).collect();
            prop_assert_eq!(&all, &model.clone().into_iter().collect::<Vec<_>>());
            let edge = |i: u8| {
                let id = model.keys().nth(usize::from(i) % model.len().max(1)).copied().unwrap_or_default();
                if i % 2 == 0 { id } else { id.next().unwrap() }
            };
            for (a, b) in [(bounds[0], bounds[1]), (bounds[2], bounds[3])] {
                let (a, b) = (edge(a), edge(b));
                let want: Vec<_> = if a <= b { model.range(a..=b).map(|(id, _)| *id).collect() } else { vec![] };
                let got: Vec<_> = stream.range(a, b).map(|(id, _)| id).collect();
                prop_assert_eq!(&got, &want);
                prop_assert!(stream.range_rev(a, b).map(|(id, _)| id).eq(want.into_iter().rev()));
            }
            reread(&stream);
        }

        /// Damaged blocks are refused or read to their end, both ways, without a panic.
        #[test]
        fn damage_never_panics(n in 1..8u64, flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
            let mut stream = filled(n, LIMITS);
            stream.delete(id(2));
            let (master, mut bytes) = stream.blocks().next().map(|(m, b)| (m, b.to_vec())).unwrap();
            for (at, byte) in flips {
                let at = 6 + at % (bytes.len() - 6);
                bytes[at] = byte;
            }
            if let Ok(mut stream) = Stream::from_blocks([(master, &bytes[..])]) {
                let mut back = ids(stream.range_rev(StreamId::MIN, StreamId::MAX));
                back.reverse();
                prop_assert_eq!(ids(stream.range(StreamId::MIN, StreamId::MAX)), back);
                stream.trim(Keep::Len(1), false, 0);
                prop_assert!(stream.len() <= 1);
            }
        }
    }
}
