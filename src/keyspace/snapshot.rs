//! The cut: one consistent state of the whole keyspace, taken while everybody goes on.
//!
//! Every cell carries the *era* in which it was last changed, one of two; outside of a snapshot all cells have that of
//! their shard. A cut, with every shard locked for an instant, begins the other era. From then on a cell of the old era
//! is as it was at the cut. A walker goes through the shards a few buckets at a time and captures those; whoever is
//! about to change or remove one captures it first. Either way it is captured once, and is of the new era then. When
//! the walker has passed a shard, all its cells are of the new era.
//!
//! The keyspace does not know what a capture does with a cell: see `Capture`.
use std::sync::Arc;

use super::{Db, Keyspace, Locked};
use crate::value::cell::Cell;
use crate::value::table::{POSITION_END, Table};

/// What is done with the cells of a cut. Called with the shard locked, so it must be quick: a small value is serialised,
/// a large one pinned. Databases are numbered as they were at the cut.
pub trait Capture: Send + Sync {
    /// The cell as it was at the cut; it is about to change.
    fn take(&self, db: usize, cell: &Cell);

    /// A whole part of a database that was emptied: the cells whose era is not `era` are those of the cut. Whoever gets
    /// it drops it, off the hot path.
    fn adopt(&self, db: usize, era: u8, table: Table<Cell>);
}

/// A part of a database that still holds cells of the cut. It moves with the contents (SWAPDB).
pub(super) struct Cut {
    capture: Arc<dyn Capture>,
    /// The database's number at the cut.
    db: usize,
    /// The walker's place in the table.
    next: u64,
}

impl Cut {
    #[cold]
    pub(super) fn take(&self, cell: &Cell) {
        self.capture.take(self.db, cell);
    }
}

impl Db {
    /// Before a cell changes: captures it if it is still that of the cut.
    #[inline]
    pub(super) fn capture(cut: &Option<Box<Cut>>, era: u8, cell: &Cell) {
        if cell.era() != era {
            if let Some(cut) = cut {
                cut.take(cell);
            }
            cell.set_era(era);
        }
    }

    fn begin_cut(&mut self, era: u8, db: usize, capture: &Arc<dyn Capture>) {
        self.era = era;
        self.cut = (!self.is_empty()).then(|| Box::new(Cut { capture: capture.clone(), db, next: 0 }));
    }

    /// Gives emptied contents to the capture, if it has a claim on them; gives them back otherwise.
    pub(super) fn offer(&mut self, table: Table<Cell>) -> Option<Table<Cell>> {
        match self.cut.take() {
            Some(cut) if !table.is_empty() => {
                cut.capture.adopt(cut.db, self.era, table);
                None
            }
            _ => Some(table),
        }
    }

    /// Captures on, up to about `most` cells; tells how many it visited. Fewer than `most`: this part is done.
    fn walk_cut(&mut self, most: usize, emit: &mut impl FnMut(usize, &Cell)) -> usize {
        let (era, mut visited) = (self.era, 0);
        let Some(cut) = &mut self.cut else { return 0 };
        while cut.next < POSITION_END {
            if visited >= most {
                return visited;
            }
            let db = cut.db;
            cut.next = self.table.scan_bucket(cut.next, &mut |cell| {
                visited += 1;
                if cell.era() != era {
                    emit(db, cell);
                    cell.set_era(era);
                }
            });
        }
        self.cut = None;
        visited.min(most.saturating_sub(1))
    }
}

impl Locked<'_> {
    /// Makes the cut. Every shard is held, and no cut is under way.
    pub fn begin_cut(&mut self, capture: &Arc<dyn Capture>) {
        for shard in self.shards_mut() {
            shard.era ^= 1;
            let era = shard.era;
            shard.parts_mut().for_each(|(i, db)| db.begin_cut(era, i, capture));
        }
    }
}

impl Keyspace {
    /// The walker's part: goes on in one shard, with its lock held for about `most` cells. Tells whether the shard is
    /// done.
    pub fn walk_cut(&self, shard: u32, most: usize, mut emit: impl FnMut(usize, &Cell)) -> bool {
        let mut locked = self.lock_shard(shard);
        let mut left = most;
        for shard in locked.shards_mut() {
            for (_, db) in shard.parts_mut() {
                let visited = db.walk_cut(left, &mut emit);
                if visited >= left {
                    return false;
                }
                left -= visited;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use parking_lot::Mutex;
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::ShardSet;

    type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<u64>)>;

    type Found = (usize, Vec<u8>, Vec<u8>, Option<u64>);

    #[derive(Default)]
    struct Collected(Mutex<Vec<Found>>);

    impl Collected {
        fn add(&self, db: usize, cell: &Cell) {
            self.0.lock().push((db, cell.key().to_vec(), cell.body().to_vec(), cell.expire_ms()));
        }
    }

    impl Capture for Collected {
        fn take(&self, db: usize, cell: &Cell) {
            self.add(db, cell);
        }

        fn adopt(&self, db: usize, era: u8, table: Table<Cell>) {
            table.iter().filter(|cell| cell.era() != era).for_each(|cell| self.add(db, cell));
        }
    }

    fn contents(keyspace: &Keyspace) -> Contents {
        let locked = keyspace.lock(&ShardSet::All);
        let mut all = Contents::new();
        for db in 0..keyspace.databases() {
            for part in locked.parts(db) {
                all.extend(
                    part.table().iter().map(|c| ((db, c.key().to_vec()), (c.body().to_vec(), c.expire_ms()))),
                );
            }
        }
        all
    }

    /// One random change; `n` decides which.
    fn change(keyspace: &Keyspace, n: u64) {
        let key = format!("key{}", n % 50);
        let (db, what) = ((n / 50 % 3) as usize, n / 150 % 16);
        let hash = keyspace.hash(key.as_bytes());
        if what >= 14 {
            let mut locked = keyspace.lock(&ShardSet::All);
            if what == 14 {
                locked.swap_dbs(db, (db + 1) % 3);
            } else {
                locked.parts_mut(db).for_each(|part| drop(part.take_all()));
            }
            return;
        }
        let mut locked = keyspace.lock_shard(keyspace.shard_of(hash));
        let part = locked.db_mut(db, hash);
        match what {
            0..6 => {
                drop(part.remove(hash, key.as_bytes()));
                part.insert(hash, Cell::string(key.as_bytes(), format!("value of {n}").as_bytes()));
            }
            6..9 => {
                if let Some(mut cell) = part.get_mut(hash, key.as_bytes()) {
                    cell.set_string(format!("{n}").repeat(30).as_bytes());
                }
            }
            9..11 => {
                if let Some(mut cell) = part.get_mut(hash, key.as_bytes()) {
                    cell.set_expire_ms(Some(n));
                }
            }
            _ => drop(part.remove(hash, key.as_bytes())),
        }
    }

    proptest! {
        #[test]
        fn what_is_captured_is_the_state_at_the_cut_whatever_happens_meanwhile(
            before in proptest::collection::vec(any::<u64>(), 0..300),
            after in proptest::collection::vec((any::<u64>(), 0usize..4), 0..300),
            rounds in 1usize..3,
        ) {
            let keyspace = Keyspace::new(8, 3, 7);
            before.iter().for_each(|&n| change(&keyspace, n));
            for _ in 0..rounds {
                let expected = contents(&keyspace);
                let collected = Arc::new(Collected::default());
                let capture: Arc<dyn Capture> = collected.clone();
                keyspace.lock(&ShardSet::All).begin_cut(&capture);
                let mut shard = 0;
                let mut step = |most: usize| {
                    if shard < 8 && keyspace.walk_cut(shard, most, |db, cell| collected.add(db, cell)) {
                        shard += 1;
                    }
                    shard < 8
                };
                for &(n, walk) in &after {
                    change(&keyspace, n);
                    if walk > 0 {
                        step(walk);
                    }
                }
                while step(3) {}
                let got = collected.0.lock();
                prop_assert_eq!(got.len(), expected.len(), "each once");
                let got: Contents =
                    got.iter().map(|(db, k, v, at)| ((*db, k.clone()), (v.clone(), *at))).collect();
                prop_assert_eq!(got, expected);
            }
        }
    }
}
