//! The large encoding: a table of pairs, and beside it, while fields have TTLs, their order.
//!
//! Invariants: `bytes` is the sum of what the pairs' allocations take; `order` has one item for each field with a TTL,
//! its instant and its hash, and is there only while it has any.
use super::pair::Pair;
use super::{FieldTtl, Gone};
use crate::base::alloc::size_class;
use crate::value::btree::{BTree, Member};
use crate::value::cell::Large;
use crate::value::table::{POSITION_BITS, Pinned, Slot, Table, View};

pub struct HashTable {
    pairs: Content,
    order: Option<Box<BTree<FieldHash>>>,
    bytes: usize,
    seed: u64,
}

enum Content {
    Own(Table<Pair>),
    /// A copy that shares everything with its original until it is first written to.
    Pin(Pinned<Pair>),
}

/// Stands for a field in the order: the pairs themselves move. Two fields of one hash are two equal items, and whichever
/// of them is taken, the table says which fields are due.
#[derive(Clone)]
struct FieldHash([u8; 8]);

impl Member for FieldHash {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl HashTable {
    pub fn new(seed: u64) -> Self {
        HashTable { pairs: Content::Own(Table::new(seed)), order: None, bytes: 0, seed }
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

    /// Sets a field without a TTL; true when it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.put(field, value, FieldTtl::None)
    }

    /// Sets a field and its TTL; true when it is new.
    pub fn put(&mut self, field: &[u8], value: &[u8], ttl: FieldTtl) -> bool {
        let table = self.own();
        let hash = table.hash_of(field);
        let (pair, created) =
            table.find_or_insert_with(hash, field, || Pair::new(field, value, ttl.after(None)));
        let (was, change);
        if created {
            (was, change) = (None, pair.mem_bytes());
        } else {
            let before = pair.mem_bytes();
            was = pair.expire_ms();
            pair.set(value, ttl.after(was));
            change = pair.mem_bytes().wrapping_sub(before);
        }
        self.bytes = self.bytes.wrapping_add(change);
        self.reorder(hash, was, ttl.after(was));
        created
    }

    /// The field, if it is there, expires then, or no longer.
    pub fn set_expire(&mut self, field: &[u8], at: Option<u64>) {
        let hash = self.view().hash_of(field);
        let Some(pair) = self.own().get_mut_hashed(hash, field) else { return };
        let (was, before) = (pair.expire_ms(), pair.mem_bytes());
        pair.set_expire(at);
        let change = pair.mem_bytes().wrapping_sub(before);
        self.bytes = self.bytes.wrapping_add(change);
        self.reorder(hash, was, at);
    }

    /// Removes a field; true when it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let hash = self.view().hash_of(field);
        let Some(pair) = self.own().remove_hashed(hash, field) else { return false };
        self.bytes -= pair.mem_bytes();
        self.reorder(hash, pair.expire_ms(), None);
        true
    }

    /// When the first field expires.
    pub fn soonest(&self) -> Option<u64> {
        Some(self.order.as_ref()?.first()?.0 as u64)
    }

    /// The fields that are gone at the horizon, though still here.
    pub(super) fn gone(&self, horizon: u64) -> Gone {
        let count = self.order.as_ref().map_or(0, |order| order.count_less(horizon as f64, true));
        Gone::new(horizon, count)
    }

    /// Removes a field that is gone at the horizon, and gives it.
    pub(super) fn remove_gone(&mut self, horizon: u64) -> Option<Vec<u8>> {
        loop {
            let (at, hash) = self.order.as_ref()?.first()?;
            let (at, hash) = (at as u64, u64::from_le_bytes(hash.0));
            if at > horizon {
                return None;
            }
            let mut found = None;
            self.view().scan_bucket(hash >> (u64::BITS - POSITION_BITS), &mut |pair| {
                if found.is_none() && pair.expire_ms() == Some(at) && pair.hash(self.seed) == hash {
                    found = Some(pair.field().to_vec());
                }
            });
            match found {
                Some(field) => {
                    self.remove(&field);
                    return Some(field);
                }
                None => {
                    debug_assert!(false, "the order has fields of the table only");
                    self.reorder(hash, Some(at), None);
                }
            }
        }
    }

    fn reorder(&mut self, hash: u64, was: Option<u64>, is: Option<u64>) {
        if was == is {
            return;
        }
        let hash = hash.to_le_bytes();
        // Instants are below 2^48, and exact as doubles.
        if let Some(at) = is {
            self.order.get_or_insert_default().insert(at as f64, FieldHash(hash));
        }
        if let (Some(at), Some(order)) = (was, &mut self.order) {
            order.remove(at as f64, &hash);
            if order.is_empty() {
                self.order = None;
            }
        }
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

    /// Counted anew, with the fields that have TTLs: what `bytes` and `order` must agree with.
    #[cfg(test)]
    pub(super) fn recount(&self) -> (bool, usize) {
        let bytes = self.view().iter().map(Pair::mem_bytes).sum::<usize>();
        let mut instants: Vec<u64> = self.view().iter().filter_map(Pair::expire_ms).collect();
        instants.sort();
        let order: Vec<u64> =
            self.order.iter().flat_map(|order| order.iter().map(|(at, _)| at as u64)).collect();
        (
            bytes == self.bytes && order == instants && self.order.as_ref().is_none_or(|o| !o.is_empty()),
            order.len(),
        )
    }
}

impl Large for HashTable {
    fn mem_bytes(&self) -> usize {
        let nodes = match &self.pairs {
            Content::Own(table) => table.mem_bytes(),
            // Shared with the original; about what it would take.
            Content::Pin(pin) => pin.len() * 13,
        };
        let order = self.order.as_ref().map_or(0, |o| size_class(size_of_val(&**o)) + o.mem_bytes());
        size_class(size_of::<Self>()) + nodes + self.bytes + order
    }

    fn free_effort(&self) -> usize {
        self.view().len()
    }

    fn boxed_clone(&self) -> Box<dyn Large> {
        Box::new(HashTable {
            pairs: Content::Pin(self.pin()),
            order: self.order.clone(),
            bytes: self.bytes,
            seed: self.seed,
        })
    }

    fn settle(&mut self, leaves: usize) -> bool {
        match &mut self.pairs {
            Content::Own(table) => table.settle(leaves),
            Content::Pin(_) => true,
        }
    }
}
