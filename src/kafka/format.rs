//! Formats of keys and values. A format reads a document once and leaves what the pipeline's paths lead to.
//!
//! [`Paths`] is what a pipeline wants of a document, a tree that is made when the pipeline is compiled; [`Found`] is
//! what one document had of it, reused from record to record.
use super::path::{Fault, Path, Step};

/// What a format is called in a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatName {
    Raw,
    Json,
}

impl FormatName {
    pub const ALL: [FormatName; 2] = [FormatName::Raw, FormatName::Json];

    pub fn name(self) -> &'static str {
        match self {
            FormatName::Raw => "raw",
            FormatName::Json => "json",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name().eq_ignore_ascii_case(name))
    }

    /// Whether its documents can be looked into.
    pub fn has_paths(self) -> bool {
        self != FormatName::Raw
    }

    pub fn open(self) -> Box<dyn Format> {
        match self {
            FormatName::Raw => Box::new(Raw),
            FormatName::Json => Box::new(super::json::Json),
        }
    }
}

/// How keys or values are read.
pub trait Format: Send + Sync {
    /// Checks the whole of `document`, and puts what `paths` want of it into `found`, which is empty before. The
    /// fault's place is in the document.
    fn read(&self, document: &[u8], paths: &Paths, found: &mut Found) -> Result<(), Fault>;
}

/// Bytes as they come.
struct Raw;

impl Format for Raw {
    fn read(&self, _: &[u8], _: &Paths, _: &mut Found) -> Result<(), Fault> {
        Ok(())
    }
}

/// The places in a document that a pipeline wants: a tree of steps, node 0 the document itself.
#[derive(Debug)]
pub struct Paths {
    nodes: Vec<Node>,
    slots: usize,
    spreads: usize,
}

#[derive(Debug, Default)]
pub struct Node {
    /// Sorted.
    names: Vec<(Box<str>, usize)>,
    /// Sorted.
    indexes: Vec<(usize, usize)>,
    /// Where the value itself goes.
    pub slot: Option<usize>,
    /// Where what it contains goes.
    pub spread: Option<usize>,
}

impl Default for Paths {
    fn default() -> Self {
        Paths { nodes: vec![Node::default()], slots: 0, spreads: 0 }
    }
}

impl Paths {
    pub fn is_empty(&self) -> bool {
        self.slots + self.spreads == 0
    }

    /// The slot of the value that a path leads to.
    pub fn want(&mut self, path: &Path) -> usize {
        let node = self.node_of(path);
        let slots = &mut self.slots;
        *self.nodes[node].slot.get_or_insert_with(|| next(slots))
    }

    /// The spread of what the value contains that a path leads to.
    pub fn want_all(&mut self, path: &Path) -> usize {
        let node = self.node_of(path);
        let spreads = &mut self.spreads;
        *self.nodes[node].spread.get_or_insert_with(|| next(spreads))
    }

    fn node_of(&mut self, path: &Path) -> usize {
        let mut node = 0;
        for step in &path.steps {
            let new = self.nodes.len();
            let Node { names, indexes, .. } = &mut self.nodes[node];
            node = match step {
                Step::Name(name) => match names.binary_search_by(|(n, _)| n.cmp(name)) {
                    Ok(i) => names[i].1,
                    Err(i) => {
                        names.insert(i, (name.clone(), new));
                        new
                    }
                },
                Step::Index(index) => match indexes.binary_search_by_key(index, |&(n, _)| n) {
                    Ok(i) => indexes[i].1,
                    Err(i) => {
                        indexes.insert(i, (*index, new));
                        new
                    }
                },
            };
            if node == new {
                self.nodes.push(Node::default());
            }
        }
        node
    }

    pub fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }
}

fn next(count: &mut usize) -> usize {
    *count += 1;
    *count - 1
}

/// Up to so many names are compared one by one: their lengths mostly differ.
const LINEAR_MAX: usize = 8;

impl Node {
    #[inline]
    pub fn named(&self, name: &str) -> Option<usize> {
        if self.names.len() <= LINEAR_MAX {
            return self.names.iter().find(|(n, _)| **n == *name).map(|&(_, node)| node);
        }
        let i = self.names.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        self.names.get(i).map(|&(_, node)| node)
    }

    pub fn at(&self, index: usize) -> Option<usize> {
        let i = self.indexes.binary_search_by_key(&index, |&(n, _)| n).ok()?;
        self.indexes.get(i).map(|&(_, node)| node)
    }

    /// Whether anything in its value is wanted.
    pub fn goes_down(&self) -> bool {
        self.spread.is_some() || !self.names.is_empty() || !self.indexes.is_empty()
    }

    fn children(&self) -> impl Iterator<Item = usize> {
        self.names.iter().map(|&(_, node)| node).chain(self.indexes.iter().map(|&(_, node)| node))
    }
}

/// What kind of value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    #[default]
    Missing,
    Null,
    Bool,
    Number,
    Text,
    /// An object or an array, as its JSON text.
    Nested,
}

/// Where bytes lie: in the document, or among those that had to be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    made: bool,
    start: usize,
    len: usize,
}

impl Place {
    pub fn in_document(start: usize, len: usize) -> Self {
        Place { made: false, start, len }
    }
}

/// A value: what a template writes of it, which of a string is its contents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Piece {
    pub kind: Kind,
    pub place: Place,
}

/// A member of an object, or, without a name, an element of an array.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub name: Option<Place>,
    pub value: Piece,
}

/// What a path with a star led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Container {
    #[default]
    Missing,
    Object,
    Array,
    /// Something that contains nothing.
    Other,
}

/// What one document had.
#[derive(Debug, Default)]
pub struct Found {
    made: Vec<u8>,
    slots: Vec<Piece>,
    spreads: Vec<(Container, Vec<Entry>)>,
}

/// Memory that a document left behind and that a later one may not need is given back beyond this many bytes or entries.
const KEEP_MAX: usize = 64 << 10;

impl Found {
    /// Empties it, with room for what `paths` want.
    pub fn begin(&mut self, paths: &Paths) {
        self.made.clear();
        self.made.shrink_to(KEEP_MAX);
        self.slots.clear();
        self.slots.resize(paths.slots, Piece::default());
        self.spreads.resize_with(paths.spreads, Default::default);
        for (container, entries) in &mut self.spreads {
            *container = Container::Missing;
            entries.clear();
            entries.shrink_to(KEEP_MAX);
        }
    }

    /// Forgets what was found under a node: its name came again, and the last one counts.
    pub fn forget(&mut self, paths: &Paths, node: usize) {
        let node = paths.node(node);
        if let Some(slot) = node.slot {
            self.put(slot, Piece::default());
        }
        if let Some(spread) = node.spread {
            self.open(spread, Container::Missing);
        }
        for child in node.children() {
            self.forget(paths, child);
        }
    }

    /// Keeps bytes that do not stand in the document as they are to be written.
    pub fn make(&mut self, bytes: &[u8]) -> Place {
        let start = self.made.len();
        self.made.extend_from_slice(bytes);
        Place { made: true, start, len: bytes.len() }
    }

    pub fn put(&mut self, slot: usize, piece: Piece) {
        if let Some(at) = self.slots.get_mut(slot) {
            *at = piece;
        }
    }

    /// Begins a spread anew.
    pub fn open(&mut self, spread: usize, container: Container) {
        if let Some((kind, entries)) = self.spreads.get_mut(spread) {
            *kind = container;
            entries.clear();
        }
    }

    pub fn push(&mut self, spread: usize, entry: Entry) {
        if let Some((_, entries)) = self.spreads.get_mut(spread) {
            entries.push(entry);
        }
    }

    pub fn piece(&self, slot: usize) -> Piece {
        self.slots.get(slot).copied().unwrap_or_default()
    }

    pub fn entries(&self, spread: usize) -> (Container, &[Entry]) {
        self.spreads.get(spread).map_or((Container::Missing, &[]), |(kind, entries)| (*kind, entries))
    }

    #[inline]
    pub fn bytes<'a>(&'a self, place: Place, document: &'a [u8]) -> &'a [u8] {
        let all = if place.made { &self.made } else { document };
        all.get(place.start..).and_then(|rest| rest.get(..place.len)).unwrap_or_default()
    }
}
