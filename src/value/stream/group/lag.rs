//! How far a group is behind its stream, by the stream's counters alone.
//!
//! A stream counts the entries ever added, not where in that history an entry stands. For an id at one of its ends the place
//! follows from the counters; elsewhere, and where XDEL made holes, it cannot be told.
use super::super::Stream;
use super::super::id::StreamId;
use super::Group;

impl Stream {
    /// Whether an entry at or after `start` may have been deleted while earlier ones are still there.
    fn has_holes_from(&self, start: StreamId) -> bool {
        !self.is_empty()
            && !self.max_deleted_id.is_zero()
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many entries of the whole history are at or before `id`, where that can be told.
    pub fn place_in_history(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if id == self.last_id || (self.is_empty() && id < self.last_id) {
            return Some(self.entries_added);
        }
        let holes = !self.max_deleted_id.is_zero() && self.max_deleted_id >= self.first_id;
        if id > self.last_id || holes || id > self.first_id {
            return None;
        }
        let before = self.entries_added.wrapping_sub(self.len());
        Some(if id == self.first_id { before.wrapping_add(1) } else { before })
    }

    /// The group's count of entries read, now that it goes on to `id`.
    pub fn count_read(&self, entries_read: Option<u64>, id: StreamId) -> Option<u64> {
        match entries_read {
            Some(n) if !self.has_holes_from(id) => Some(n.wrapping_add(1)),
            before if self.entries_added == 0 => before,
            _ => self.place_in_history(id),
        }
    }

    /// Entries that the group has yet to be given, where that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(n) if !self.has_holes_from(group.last_id) => Some(n),
            _ => self.place_in_history(group.last_id),
        };
        read.map(|read| (self.entries_added as i64).wrapping_sub(read as i64))
    }
}
