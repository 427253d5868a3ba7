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
        self.blocks.len() + self.groups.free_effort()
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
        self.blocks.len() + self.groups.free_effort()
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
