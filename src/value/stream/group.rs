//! Consumer groups: consumers and the entries that are pending.
//!
//! Invariants: an entry is in a group's pending list exactly if it is in the list of one of its consumers, the one that
//! the group's list names; `Groups::owned` and `Group::owned` are what lies outside of their own trees.
//!
//! Everything is made of trees of counted nodes: a pin of all groups is O(1), and a write after it copies the nodes on
//! its path, whatever the number of pending entries and consumers.
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::id::StreamId;
use crate::base::alloc::size_class;

mod lag;
mod tree;

use tree::Tree;

/// The two counts in front of a shared name.
const NAME_HEADER: usize = 2 * size_of::<usize>();

type Name = Arc<[u8]>;

fn name_bytes(name: &[u8]) -> usize {
    size_class(NAME_HEADER + name.len())
}

/// The groups of a stream, in the order of their names. `Clone` is a pin.
#[derive(Clone, Default, Debug)]
pub struct Groups {
    tree: Tree<Name, Group>,
    owned: usize,
}

impl Groups {
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.tree.get(name)
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<GroupMut<'_>> {
        let group = self.tree.get_mut(name)?;
        Some(GroupMut { before: group.heap_bytes(), group, owned: &mut self.owned })
    }

    /// Adds a group; false when there is one of that name.
    pub fn create(&mut self, name: &[u8], group: Group) -> bool {
        if self.get(name).is_some() {
            return false;
        }
        self.owned += name_bytes(name) + group.heap_bytes();
        self.tree.insert(name.into(), group);
        true
    }

    /// Takes a group out; freeing it may take long.
    pub fn remove(&mut self, name: &[u8]) -> Option<Group> {
        let group = self.tree.remove(name)?;
        self.owned -= name_bytes(name) + group.heap_bytes();
        Some(group)
    }

    /// By name, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.tree.iter().map(|(name, group)| (&**name, group))
    }

    /// Heap bytes held.
    pub fn mem_bytes(&self) -> usize {
        self.tree.mem_bytes() + self.owned
    }

    /// Allocations that dropping it frees, roughly.
    pub fn free_effort(&self) -> usize {
        self.mem_bytes() / 1024
    }
}

/// A group borrowed for writing; the running total of bytes is put right when this is dropped.
pub struct GroupMut<'a> {
    group: &'a mut Group,
    owned: &'a mut usize,
    before: usize,
}

impl Deref for GroupMut<'_> {
    type Target = Group;

    fn deref(&self) -> &Group {
        self.group
    }
}

impl DerefMut for GroupMut<'_> {
    fn deref_mut(&mut self) -> &mut Group {
        self.group
    }
}

impl Drop for GroupMut<'_> {
    fn drop(&mut self) {
        *self.owned = *self.owned - self.before + self.group.heap_bytes();
    }
}

/// Names a consumer within its group for as long as it exists; never used anew.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConsumerId(u64);

/// A delivery that nobody has acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nack {
    pub consumer: ConsumerId,
    /// When it was delivered last, Unix milliseconds.
    pub time_ms: u64,
    /// How often it was delivered.
    pub count: u64,
}

/// One reader of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Name,
    /// When it last tried to read or claim, Unix milliseconds.
    pub seen_ms: u64,
    /// When it last got something, Unix milliseconds.
    pub active_ms: Option<u64>,
    pending: Tree<StreamId, ()>,
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids pending with it from `start` on; what is known of them, the group's list knows.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = StreamId> {
        self.pending.range_from(&start).map(|(id, ())| *id)
    }
}

/// One group. `Clone` is a pin.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last id delivered to anyone.
    pub last_id: StreamId,
    /// How many entries of the stream's whole history are at or before `last_id`; `None` where that cannot be told.
    pub entries_read: Option<u64>,
    pending: Tree<StreamId, Nack>,
    names: Tree<Name, ConsumerId>,
    consumers: Tree<ConsumerId, Consumer>,
    /// Bytes of the consumers' names and pending lists.
    owned: usize,
}

impl Group {
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self { last_id, entries_read, ..Self::default() }
    }

    fn heap_bytes(&self) -> usize {
        self.pending.mem_bytes() + self.names.mem_bytes() + self.consumers.mem_bytes() + self.owned
    }

    /// Allocations that dropping it frees, roughly.
    pub fn free_effort(&self) -> usize {
        self.heap_bytes() / 1024
    }

    pub fn consumers_len(&self) -> usize {
        self.names.len()
    }

    /// By name, ascending.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.names.iter().filter_map(|(_, id)| Some((*id, self.consumers.get(id)?)))
    }

    pub fn consumer_id(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    pub fn consumer(&self, id: ConsumerId) -> Option<&Consumer> {
        self.consumers.get(&id)
    }

    /// Adds a consumer, which was seen now; `None` when there is one of that name.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> Option<ConsumerId> {
        if self.consumer_id(name).is_some() {
            return None;
        }
        let id = ConsumerId(self.consumers.last().map_or(0, |(last, _)| last.0 + 1));
        let name: Name = name.into();
        self.owned += name_bytes(&name);
        self.names.insert(name.clone(), id);
        let consumer = Consumer { name, seen_ms: now_ms, active_ms: None, pending: Tree::default() };
        self.consumers.insert(id, consumer);
        Some(id)
    }

    /// Removes a consumer with all that is pending with it; tells how many entries that were.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.names.remove(name)?;
        let consumer = self.consumers.remove(&id)?;
        self.owned -= name_bytes(name) + consumer.pending.mem_bytes();
        if consumer.pending.len() == self.pending.len() {
            self.pending = Tree::default();
        } else {
            consumer.pending.iter().for_each(|(entry, ())| {
                self.pending.remove(entry);
            });
        }
        Some(consumer.pending.len())
    }

    /// The consumer's clocks: it has tried to get something, and got something if `active`.
    pub fn saw(&mut self, who: ConsumerId, now_ms: u64, active: bool) {
        if let Some(consumer) = self.consumers.get_mut(&who) {
            consumer.seen_ms = now_ms;
            if active {
                consumer.active_ms = Some(now_ms);
            }
        }
    }

    /// Sets both of the consumer's clocks, as a dump tells them.
    pub fn set_clocks(&mut self, who: ConsumerId, seen_ms: u64, active_ms: Option<u64>) {
        if let Some(consumer) = self.consumers.get_mut(&who) {
            (consumer.seen_ms, consumer.active_ms) = (seen_ms, active_ms);
        }
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    pub fn nack(&self, entry: StreamId) -> Option<&Nack> {
        self.pending.get(&entry)
    }

    pub fn first_pending(&self) -> Option<StreamId> {
        self.pending.first().map(|(id, _)| *id)
    }

    pub fn last_pending(&self) -> Option<StreamId> {
        self.pending.last().map(|(id, _)| *id)
    }

    /// The pending entries from `start` on.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &Nack)> {
        self.pending.range_from(&start).map(|(id, nack)| (*id, nack))
    }

    /// Makes an entry pending with a consumer, whoever had it before. Without effect if the consumer is not there.
    pub fn assign(&mut self, entry: StreamId, nack: Nack) {
        let Some(consumer) = self.consumers.get_mut(&nack.consumer) else { return };
        let before = consumer.pending.mem_bytes();
        match self.pending.insert(entry, nack) {
            Some(old) if old.consumer == nack.consumer => {}
            old => {
                consumer.pending.insert(entry, ());
                self.owned = self.owned - before + consumer.pending.mem_bytes();
                if let Some(old) = old {
                    self.forget(old.consumer, entry);
                }
            }
        }
    }

    /// An entry was delivered to its consumer once more; false when it is not pending.
    pub fn deliver_again(&mut self, entry: StreamId, now_ms: u64) -> bool {
        let Some(nack) = self.pending.get_mut(&entry) else { return false };
        nack.time_ms = now_ms;
        nack.count = nack.count.wrapping_add(1);
        true
    }

    /// The entry is no longer pending; what was known of it.
    pub fn acknowledge(&mut self, entry: StreamId) -> Option<Nack> {
        let nack = self.pending.remove(&entry)?;
        self.forget(nack.consumer, entry);
        Some(nack)
    }

    fn forget(&mut self, who: ConsumerId, entry: StreamId) {
        if let Some(consumer) = self.consumers.get_mut(&who) {
            let before = consumer.pending.mem_bytes();
            consumer.pending.remove(&entry);
            self.owned = self.owned - before + consumer.pending.mem_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Groups {
        fn check(&self) {
            self.tree.check();
            let mut owned = 0;
            for (name, group) in self.iter() {
                group.pending.check();
                group.names.check();
                group.consumers.check();
                let lists = group.consumers.iter().map(|(_, c)| {
                    c.pending.check();
                    name_bytes(&c.name) + c.pending.mem_bytes()
                });
                assert_eq!(group.owned, lists.sum::<usize>());
                owned += name_bytes(name) + group.heap_bytes();
                let each: usize = group.consumers().map(|(_, c)| c.pending_len()).sum();
                assert_eq!(each, group.pending_len());
                for (entry, nack) in group.pending_from(StreamId::MIN) {
                    let owner = group.consumer(nack.consumer).expect("its consumer exists");
                    assert_eq!(owner.pending_from(entry).next(), Some(entry));
                }
            }
            assert_eq!(self.owned, owned);
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Assign(u8, u16),
        Deliver(u8, u16),
        Acknowledge(u16),
        Again(u16),
        Delete(u8),
        Pin,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            4 => (0u8..5, 0u16..500).prop_map(|(c, n)| Op::Assign(c, n)),
            4 => (0u8..5, 1u16..200).prop_map(|(c, n)| Op::Deliver(c, n)),
            4 => (0u16..2000).prop_map(Op::Acknowledge),
            2 => (0u16..500).prop_map(Op::Again),
            1 => (0u8..5).prop_map(Op::Delete),
            1 => Just(Op::Pin),
        ];
        proptest::collection::vec(op, 1..80)
    }

    /// Entry to (consumer, count).
    type Model = BTreeMap<u64, (u8, u64)>;

    fn same(group: &Group, model: &Model) {
        let listed: Model = group
            .pending_from(StreamId::MIN)
            .map(|(id, nack)| {
                let name = group.consumer(nack.consumer).expect("its consumer exists").name();
                (id.ms, (name[0], nack.count))
            })
            .collect();
        assert_eq!(&listed, model);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pending_lists_agree(ops in ops()) {
            let mut groups = Groups::default();
            prop_assert!(groups.create(b"g", Group::new(StreamId::MIN, None)));
            let mut model = Model::new();
            let mut pins = Vec::new();
            for op in ops {
                let mut group = groups.get_mut(b"g").expect("just created");
                let who = |group: &mut Group, c: u8| {
                    group.create_consumer(&[c], 1);
                    group.consumer_id(&[c]).expect("just created")
                };
                match op {
                    Op::Assign(c, n) => {
                        let consumer = who(&mut group, c);
                        group.assign(StreamId::new(n.into(), 0), Nack { consumer, time_ms: 0, count: 5 });
                        model.insert(n.into(), (c, 5));
                    }
                    Op::Deliver(c, n) => {
                        let consumer = who(&mut group, c);
                        for _ in 0..n {
                            let id = model.last_key_value().map_or(1, |(id, _)| id + 1);
                            group.assign(StreamId::new(id, 0), Nack { consumer, time_ms: 0, count: 1 });
                            model.insert(id, (c, 1));
                        }
                    }
                    Op::Acknowledge(n) => {
                        let had = group.acknowledge(StreamId::new(n.into(), 0)).map(|nack| nack.count);
                        prop_assert_eq!(had, model.remove(&n.into()).map(|(_, count)| count));
                    }
                    Op::Again(n) => {
                        let had = group.deliver_again(StreamId::new(n.into(), 0), 9);
                        prop_assert_eq!(had, model.get_mut(&n.into()).map(|(_, count)| *count += 1).is_some());
                    }
                    Op::Delete(c) => {
                        let gone = group.delete_consumer(&[c]);
                        let before = model.len();
                        model.retain(|_, (owner, _)| *owner != c);
                        prop_assert_eq!(gone.unwrap_or(0), before - model.len());
                    }
                    Op::Pin => {}
                }
                drop(group);
                groups.check();
                same(groups.get(b"g").expect("the group"), &model);
                if matches!(op, Op::Pin) {
                    pins.push((groups.clone(), model.clone()));
                }
            }
            for (groups, model) in pins {
                groups.check();
                same(groups.get(b"g").expect("the group"), &model);
            }
        }
    }

    #[test]
    fn groups_are_in_the_order_of_their_names() {
        let mut groups = Groups::default();
        for name in [&b"b"[..], b"a\0", b"a", b"\xff", b""] {
            assert!(groups.create(name, Group::default()));
            assert!(!groups.create(name, Group::default()));
        }
        groups.check();
        let names: Vec<_> = groups.iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [&b""[..], b"a", b"a\0", b"b", b"\xff"]);
        assert!(groups.remove(b"a").is_some() && groups.remove(b"a").is_none());
        groups.check();
        assert_eq!(groups.len(), 4);
    }

    #[test]
    fn a_pending_entry_takes_little_memory() {
        let mut groups = Groups::default();
        groups.create(b"g", Group::default());
        let mut group = groups.get_mut(b"g").expect("just created");
        let consumer = group.create_consumer(b"c", 0).expect("new");
        (0..100_000).for_each(|i| group.assign(StreamId::new(i, 0), Nack { consumer, time_ms: 0, count: 1 }));
        drop(group);
        assert!(groups.mem_bytes() < 100_000 * 60, "{} bytes", groups.mem_bytes());
    }
}
