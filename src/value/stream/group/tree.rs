//! A sorted map as a B+tree of counted nodes, for pending lists and for names.
//!
//! Invariants:
//! - All leaves are at one depth; no node but the root is empty.
//! - The key beside a child is at most the child's first key and above all keys of the child before; the first one's is
//!   not looked at.
//! - A node is changed only through `Arc::make_mut`: whoever holds a clone sees it unchanged, and a writer copies just
//!   the nodes on its path.
//! - `bytes` is what the nodes take, kept up with every change.
//!
//! Pending lists grow at their end and shrink from their head: a full leaf that is appended to stays full, and nodes
//! that drain are joined with a neighbour.
use std::borrow::Borrow;
use std::fmt;

use triomphe::Arc;

use crate::base::alloc::size_class;

/// Entries a leaf, and children an inner node.
const FANOUT: usize = 64;
/// A node with fewer looks for a neighbour to join.
const FEW: usize = FANOUT / 4;
/// Joined nodes leave room, so that the next insertion does not part them again.
const JOINED_MAX: usize = FANOUT * 3 / 4;
/// The vector's header with the reference count, as the allocator rounds it.
const NODE_BYTES: usize = size_class(size_of::<usize>() + size_of::<Vec<u8>>());

type Leaf<K, V> = Vec<(K, V)>;
type Inner<K, V> = Vec<(K, Node<K, V>)>;

#[derive(Clone)]
enum Node<K, V> {
    Leaf(Arc<Leaf<K, V>>),
    Inner(Arc<Inner<K, V>>),
}

/// See the module. `Clone` is a pin: O(1), and isolated from later writes.
#[derive(Clone)]
pub struct Tree<K, V> {
    root: Option<Node<K, V>>,
    len: usize,
    bytes: usize,
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self { root: None, len: 0, bytes: 0 }
    }
}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for Tree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What the vector's buffer takes.
fn buffer<T>(items: &Vec<T>) -> usize {
    match items.capacity() * size_of::<T>() {
        0 => 0,
        n => size_class(n),
    }
}

/// Bytes before and after a change, which may well be fewer.
fn shift(bytes: &mut usize, before: usize, after: usize) {
    *bytes = bytes.wrapping_add(after).wrapping_sub(before);
}

/// What an insertion did below a node.
enum Inserted<K, V> {
    Replaced(V),
    Fits,
    /// The node has a new neighbour after it.
    Split(K, Node<K, V>),
}

impl<K: Ord + Clone, V: Clone> Tree<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes of the nodes; what keys and values own besides is the caller's account.
    pub fn mem_bytes(&self) -> usize {
        self.bytes
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Inner(inner) => node = &inner[child_of(inner, key)].1,
                Node::Leaf(leaf) => return place_of(leaf, key).ok().map(|i| &leaf[i].1),
            }
        }
    }

    /// The value for writing; copies what a pin shares, even if the key turns out absent.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let mut node = self.root.as_mut()?;
        loop {
            match node {
                Node::Inner(inner) => {
                    let inner = make_mut(inner, &mut self.bytes);
                    let i = child_of(inner, key);
                    node = &mut inner[i].1;
                }
                Node::Leaf(leaf) => {
                    let leaf = make_mut(leaf, &mut self.bytes);
                    return place_of(leaf, key).ok().map(|i| &mut leaf[i].1);
                }
            }
        }
    }

    /// Adds or replaces; returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let bytes = &mut self.bytes;
        let root = self.root.get_or_insert_with(|| {
            *bytes += NODE_BYTES;
            Node::Leaf(Arc::new(Vec::new()))
        });
        match root.insert(key, value, true, bytes) {
            Inserted::Replaced(old) => return Some(old),
            Inserted::Fits => {}
            Inserted::Split(at, right) => {
                // The first child's key is not looked at; any will do.
                let left = std::mem::replace(root, Node::Inner(Arc::new(Vec::new())));
                let children = vec![(at.clone(), left), (at, right)];
                *bytes += NODE_BYTES + buffer(&children);
                *root = Node::Inner(Arc::new(children));
            }
        }
        self.len += 1;
        None
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let root = self.root.as_mut()?;
        let gone = root.remove(key, &mut self.bytes)?;
        self.len -= 1;
        if self.len == 0 {
            self.root = None;
            self.bytes = 0;
            return Some(gone);
        }
        while let Node::Inner(inner) = root
            && inner.len() == 1
        {
            let only = inner[0].1.clone();
            self.bytes -= NODE_BYTES + buffer(inner);
            *root = only;
        }
        Some(gone)
    }

    pub fn first(&self) -> Option<(&K, &V)> {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.first()?.1,
                Node::Leaf(leaf) => return leaf.first().map(|(k, v)| (k, v)),
            }
        }
    }

    pub fn last(&self) -> Option<(&K, &V)> {
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.last()?.1,
                Node::Leaf(leaf) => return leaf.last().map(|(k, v)| (k, v)),
            }
        }
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let mut iter = Iter { above: Vec::new(), leaf: [].iter() };
        if let Some(root) = &self.root {
            iter.descend(root);
        }
        iter
    }

    /// The entries from this key on.
    pub fn range_from<Q: Ord + ?Sized>(&self, key: &Q) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let mut iter = Iter { above: Vec::new(), leaf: [].iter() };
        let mut next = self.root.as_ref();
        while let Some(node) = next {
            match node {
                Node::Inner(inner) => {
                    let i = child_of(inner, key);
                    iter.above.push(inner[i + 1..].iter());
                    next = Some(&inner[i].1);
                }
                Node::Leaf(leaf) => {
                    iter.leaf = leaf[place_of(leaf, key).unwrap_or_else(|i| i)..].iter();
                    next = None;
                }
            }
        }
        iter
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    pub(super) fn check(&self) {
        fn walk<K: Ord + Clone, V: Clone>(
            node: &Node<K, V>,
            low: Option<&K>,
            high: Option<&K>,
            depth: usize,
        ) -> (usize, usize, usize) {
            match node {
                Node::Leaf(leaf) => {
                    assert!(!leaf.is_empty() && leaf.len() <= FANOUT);
                    assert!(leaf.windows(2).all(|w| w[0].0 < w[1].0));
                    assert!(low.is_none_or(|low| *low <= leaf[0].0));
                    assert!(high.is_none_or(|high| leaf[leaf.len() - 1].0 < *high));
                    (leaf.len(), NODE_BYTES + buffer(leaf), depth)
                }
                Node::Inner(inner) => {
                    assert!(!inner.is_empty() && inner.len() <= FANOUT);
                    let (mut len, mut bytes, mut deep) = (0, NODE_BYTES + buffer(inner), None);
                    for (i, (key, child)) in inner.iter().enumerate() {
                        let low = if i == 0 { low } else { Some(key) };
                        let high = inner.get(i + 1).map(|(k, _)| k).or(high);
                        let (l, b, d) = walk(child, low, high, depth + 1);
                        assert!(*deep.get_or_insert(d) == d);
                        len += l;
                        bytes += b;
                    }
                    (len, bytes, deep.expect("a child"))
                }
            }
        }
        let (len, bytes) = self.root.as_ref().map_or((0, 0), |root| {
            let (len, bytes, _) = walk(root, None, None, 0);
            (len, bytes)
        });
        assert_eq!((self.len, self.bytes), (len, bytes));
    }
}

/// The child that would hold the key.
#[inline]
fn child_of<K: Borrow<Q>, V, Q: Ord + ?Sized>(inner: &Inner<K, V>, key: &Q) -> usize {
    inner[1..].partition_point(|(k, _)| k.borrow() <= key)
}

#[inline]
fn place_of<K: Borrow<Q>, V, Q: Ord + ?Sized>(leaf: &Leaf<K, V>, key: &Q) -> Result<usize, usize> {
    leaf.binary_search_by(|(k, _)| k.borrow().cmp(key))
}

/// A node for writing; a copy of a shared one has a buffer of its own size.
#[inline]
fn make_mut<'a, T: Clone>(node: &'a mut Arc<Vec<T>>, bytes: &mut usize) -> &'a mut Vec<T> {
    if !node.is_unique() {
        let copy = Vec::clone(node);
        shift(bytes, buffer(node), buffer(&copy));
        *node = Arc::new(copy);
    }
    Arc::get_mut(node).expect("just made unique")
}

/// Puts an item at its place; what a full node has no room for comes back as its new neighbour.
fn put<T>(items: &mut Vec<T>, at: usize, item: T, at_end: bool, bytes: &mut usize) -> Option<Vec<T>> {
    let before = buffer(items);
    if items.len() < FANOUT {
        if items.len() == items.capacity() {
            items.reserve_exact(items.len().clamp(4, FANOUT / 2).min(FANOUT - items.len()));
        }
        items.insert(at, item);
        shift(bytes, before, buffer(items));
        return None;
    }
    let right = if at == items.len() && at_end {
        // The tree grows at its end: full nodes stay behind.
        vec![item]
    } else {
        let mut right = Vec::with_capacity(FANOUT);
        right.extend(items.drain(FANOUT / 2..));
        if at <= FANOUT / 2 {
            items.insert(at, item);
        } else {
            right.insert(at - FANOUT / 2, item);
        }
        right
    };
    *bytes += NODE_BYTES + buffer(&right);
    Some(right)
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    /// `at_end`: whether this is the last node of its level.
    fn insert(&mut self, key: K, value: V, at_end: bool, bytes: &mut usize) -> Inserted<K, V> {
        match self {
            Node::Leaf(leaf) => {
                let leaf = make_mut(leaf, bytes);
                let at = match place_of(leaf, &key) {
                    Ok(i) => return Inserted::Replaced(std::mem::replace(&mut leaf[i].1, value)),
                    Err(at) => at,
                };
                match put(leaf, at, (key, value), at_end, bytes) {
                    None => Inserted::Fits,
                    Some(right) => Inserted::Split(right[0].0.clone(), Node::Leaf(Arc::new(right))),
                }
            }
            Node::Inner(inner) => {
                let inner = make_mut(inner, bytes);
                let i = child_of(inner, &key);
                let last = at_end && i == inner.len() - 1;
                let (key, node) = match inner[i].1.insert(key, value, last, bytes) {
                    Inserted::Split(key, node) => (key, node),
                    done => return done,
                };
                match put(inner, i + 1, (key, node), at_end, bytes) {
                    None => Inserted::Fits,
                    Some(right) => Inserted::Split(right[0].0.clone(), Node::Inner(Arc::new(right))),
                }
            }
        }
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q, bytes: &mut usize) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            Node::Leaf(leaf) => {
                let at = place_of(leaf, key).ok()?;
                let leaf = make_mut(leaf, bytes);
                let (_, gone) = leaf.remove(at);
                give_back(leaf, bytes);
                Some(gone)
            }
            Node::Inner(inner) => {
                let i = child_of(inner, key);
                let inner = make_mut(inner, bytes);
                let gone = inner[i].1.remove(key, bytes)?;
                if inner[i].1.len() < FEW {
                    tidy(inner, i, bytes);
                }
                Some(gone)
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(inner) => inner.len(),
        }
    }

    fn node_bytes(&self) -> usize {
        NODE_BYTES
            + match self {
                Node::Leaf(leaf) => buffer(leaf),
                Node::Inner(inner) => buffer(inner),
            }
    }
}

/// A buffer of which little is left is exchanged for a smaller one.
fn give_back<T>(items: &mut Vec<T>, bytes: &mut usize) {
    if items.capacity() > 8 && items.len() * 4 <= items.capacity() {
        let before = buffer(items);
        items.shrink_to(items.len() * 2);
        shift(bytes, before, buffer(items));
    }
}

/// Drops a child that is empty, or joins one that has become small with a neighbour.
fn tidy<K: Ord + Clone, V: Clone>(inner: &mut Inner<K, V>, i: usize, bytes: &mut usize) {
    if inner[i].1.len() == 0 {
        *bytes -= inner[i].1.node_bytes();
        inner.remove(i);
        give_back(inner, bytes);
        return;
    }
    let fits = |j: usize| inner.get(j).is_some_and(|(_, n)| n.len() + inner[i].1.len() <= JOINED_MAX);
    let left = if fits(i + 1) {
        i
    } else if i > 0 && fits(i - 1) {
        i - 1
    } else {
        return;
    };
    let (at, right) = inner.remove(left + 1);
    *bytes -= right.node_bytes();
    match (&mut inner[left].1, right) {
        (Node::Leaf(left), Node::Leaf(right)) => join(left, right, bytes),
        (Node::Inner(left), Node::Inner(right)) => {
            let end = left.len();
            join(left, right, bytes);
            // Its first key was not looked at, and need not have been right.
            make_mut(left, bytes)[end].0 = at;
        }
        _ => unreachable!("all leaves are at one depth"),
    }
    give_back(inner, bytes);
}

fn join<T: Clone>(left: &mut Arc<Vec<T>>, right: Arc<Vec<T>>, bytes: &mut usize) {
    let left = make_mut(left, bytes);
    let before = buffer(left);
    left.reserve_exact(right.len());
    match Arc::try_unwrap(right) {
        Ok(own) => left.extend(own),
        Err(shared) => left.extend_from_slice(&shared),
    }
    shift(bytes, before, buffer(left));
}

/// Entries in order.
#[derive(Clone)]
pub struct Iter<'a, K, V> {
    above: Vec<std::slice::Iter<'a, (K, Node<K, V>)>>,
    leaf: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iter<'a, K, V> {
    /// Goes to the first leaf below.
    fn descend(&mut self, mut node: &'a Node<K, V>) {
        loop {
            match node {
                Node::Leaf(leaf) => {
                    self.leaf = leaf.iter();
                    return;
                }
                Node::Inner(inner) => {
                    let mut children = inner.iter();
                    let Some((_, first)) = children.next() else { return };
                    self.above.push(children);
                    node = first;
                }
            }
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((k, v)) = self.leaf.next() {
                return Some((k, v));
            }
            match self.above.last_mut()?.next() {
                Some((_, node)) => self.descend(node),
                None => {
                    self.above.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Append(u16),
        Insert(u16),
        Remove(u16),
        RemoveFirst(u16),
        Bump(u16),
        Pin,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => (1u16..300).prop_map(Op::Append),
            3 => any::<u16>().prop_map(Op::Insert),
            3 => any::<u16>().prop_map(Op::Remove),
            1 => (1u16..300).prop_map(Op::RemoveFirst),
            2 => any::<u16>().prop_map(Op::Bump),
            1 => Just(Op::Pin),
        ];
        proptest::collection::vec(op, 1..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_tree_is_a_sorted_map(ops in ops()) {
            let mut tree = Tree::<u32, u32>::default();
            let mut model = BTreeMap::new();
            let mut pins: Vec<(Tree<u32, u32>, BTreeMap<u32, u32>)> = Vec::new();
            for op in ops {
                match op {
                    Op::Append(n) => {
                        for _ in 0..n {
                            let key = model.last_key_value().map_or(0, |(k, _)| k + 3);
                            prop_assert_eq!(tree.insert(key, 1), model.insert(key, 1));
                        }
                    }
                    Op::Insert(k) => {
                        let key = u32::from(k) % 8192;
                        prop_assert_eq!(tree.insert(key, 2), model.insert(key, 2));
                    }
                    Op::Remove(k) => {
                        let near = model.range(u32::from(k) % 8192..).next().map(|(k, _)| *k);
                        let key = near.unwrap_or(u32::from(k));
                        prop_assert_eq!(tree.remove(&key), model.remove(&key));
                    }
                    Op::RemoveFirst(n) => {
                        for _ in 0..n {
                            let Some((key, value)) = model.pop_first() else { break };
                            prop_assert_eq!(tree.remove(&key), Some(value));
                        }
                    }
                    Op::Bump(k) => {
                        let key = u32::from(k) % 8192;
                        let (a, b) = (tree.get_mut(&key), model.get_mut(&key));
                        prop_assert_eq!(a.is_some(), b.is_some());
                        if let (Some(a), Some(b)) = (a, b) {
                            *a += 7;
                            *b += 7;
                        }
                    }
                    Op::Pin => pins.push((tree.clone(), model.clone())),
                }
                tree.check();
                prop_assert_eq!(tree.len(), model.len());
                prop_assert_eq!(tree.first(), model.first_key_value());
                prop_assert_eq!(tree.last(), model.last_key_value());
                let from = 1000;
                prop_assert!(tree.range_from(&from).eq(model.range(from..)));
            }
            pins.push((tree, model));
            for (tree, model) in pins {
                prop_assert!(tree.iter().eq(model.iter()));
                prop_assert!(model.iter().all(|(k, v)| tree.get(k) == Some(v)));
            }
        }
    }

    #[test]
    fn appended_leaves_are_full() {
        let mut tree = Tree::default();
        (0..100_000u64).for_each(|i| {
            tree.insert(i, [i; 4]);
        });
        assert!(tree.mem_bytes() < 100_000 * 42, "{} bytes", tree.mem_bytes());
        (0..100_000u64).filter(|i| i % 10 != 0).for_each(|i| {
            tree.remove(&i);
        });
        assert!(tree.mem_bytes() < 10_000 * 90, "{} bytes", tree.mem_bytes());
    }
}
