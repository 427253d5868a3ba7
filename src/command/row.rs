//! A command's row: everything about it that can be derived is derived from here.
use crate::command::{Context, Outcome};
use crate::resp::args::Args;

/// A command's function.
pub type Handler = fn(&mut Context<'_>, Args<'_>) -> Outcome;

/// How many arguments, the command's name included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arity(pub i32);

impl Arity {
    pub const fn exactly(n: i32) -> Self {
        Arity(n)
    }

    pub const fn at_least(n: i32) -> Self {
        Arity(-n)
    }

    /// As few as it accepts.
    pub fn least(self) -> usize {
        self.0.unsigned_abs() as usize
    }

    #[inline]
    pub fn accepts(self, n: usize) -> bool {
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        if self.0 >= 0 { n == self.0 } else { n >= -self.0 }
    }
}

/// Redis's command groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    HyperLogLog,
    Cluster,
    Geo,
    Stream,
    Bitmap,
}

impl Group {
    /// As COMMAND DOCS names it.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::HyperLogLog => "hyperloglog",
            Group::Cluster => "cluster",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
        }
    }
}

/// Command flags, named as COMMAND INFO prints them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u32);

macro_rules! flags {
    ($($name:ident = $bit:expr, $text:expr;)*) => {
        impl Flags {
            $(pub const $name: Flags = Flags(1 << $bit);)*
            /// Every flag with its printed name, in Redis's printing order.
            pub const NAMES: &'static [(Flags, &'static str)] = &[$((Flags(1 << $bit), $text)),*];
        }
    };
}

flags! {
    WRITE = 0, "write";
    READONLY = 1, "readonly";
    DENYOOM = 2, "denyoom";
    MODULE = 3, "module";
    ADMIN = 4, "admin";
    PUBSUB = 5, "pubsub";
    NOSCRIPT = 6, "noscript";
    BLOCKING = 7, "blocking";
    LOADING = 8, "loading";
    STALE = 9, "stale";
    SKIP_MONITOR = 10, "skip_monitor";
    SKIP_SLOWLOG = 11, "skip_slowlog";
    ASKING = 12, "asking";
    FAST = 13, "fast";
    NO_AUTH = 14, "no_auth";
    MAY_REPLICATE = 15, "may_replicate";
    NO_ASYNC_LOADING = 16, "no_async_loading";
    NO_MULTI = 17, "no_multi";
    MOVABLEKEYS = 18, "movablekeys";
    ALLOW_BUSY = 19, "allow_busy";
    NO_MANDATORY_KEYS = 20, "no_mandatory_keys";
    SENTINEL = 21, "sentinel";
    TOUCHES_ARBITRARY_KEYS = 22, "touches_arbitrary_keys";
}

impl Flags {
    /// Waits for something outside of the server: a transaction with it runs in the slow lane. Internal.
    pub const WAITS_OUTSIDE: Flags = Flags(1 << 27);
    /// Runs even inside MULTI (EXEC, DISCARD, ...). Internal: not printed.
    pub const UNQUEUED: Flags = Flags(1 << 28);
    /// Allowed to a RESP2 client that has subscriptions. Internal.
    pub const IN_SUBSCRIBE: Flags = Flags(1 << 29);

    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// Where a key specification starts to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    Index(usize),
    /// After this word, searched from the given argument (negative: backwards from the end).
    Keyword(&'static str, isize),
}

/// How a key specification finds its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// From the start to `last` (relative to the start; negative: from the end, -1 the last argument).
    Range { last: isize, step: usize, limit: usize },
    /// The number of keys stands `index` after the start, the first key `first` after it.
    KeyNum { index: usize, first: usize, step: usize },
    /// Only the handler can tell.
    Unknown,
}

/// One key specification, as in COMMAND INFO.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub begin: Begin,
    pub find: Find,
    /// Redis's words: `RW`/`RO`/`OW`/`RM` first, then access, update, insert, delete, ...; lower case, `|` between.
    pub flags: &'static str,
}

/// What the command locks beyond the keys of its specifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Locks {
    /// The shards of its keys.
    #[default]
    Keys,
    /// Every shard.
    All,
    /// Visits shards one at a time through `View::walk`; inside a transaction, every shard.
    Walk,
    /// The shards of the queued commands' keys (EXEC).
    Queue,
}

/// Extracts keys where the specifications cannot: calls back with the index of each key among the arguments.
pub type KeyFinder = fn(Args<'_>, &mut dyn FnMut(usize, &'static str));

/// One command or subcommand.
#[derive(Clone)]
pub struct Command {
    /// Lower case; a subcommand's is its own word only.
    pub name: &'static str,
    /// The name that errors and INFO use: `get`, `config|get`. Filled in by the table.
    pub full_name: String,
    pub arity: Arity,
    pub handler: Handler,
    pub flags: Flags,
    pub specs: Vec<KeySpec>,
    pub finder: Option<KeyFinder>,
    /// Where its key stands, if it has exactly one, always in the same place. Filled in by the table.
    pub only_key: Option<usize>,
    pub locks: Locks,
    /// Chooses the locks by the arguments, where `locks` alone would be too much or too little.
    pub locks_for: Option<fn(Args<'_>) -> Locks>,
    pub group: Group,
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    /// ACL categories beyond those that follow from flags and group, e.g. `dangerous`, `keyspace`.
    pub categories: &'static [&'static str],
    pub deprecated: Option<(&'static str, &'static str)>,
    pub subcommands: Vec<Command>,
    /// Its place in the table. Filled in by the table.
    pub id: usize,
    pub parent: Option<usize>,
}

impl Command {
    pub fn new(name: &'static str, arity: Arity, handler: Handler) -> Self {
        Command {
            name,
            full_name: name.to_owned(),
            arity,
            handler,
            flags: Flags::default(),
            specs: Vec::new(),
            finder: None,
            only_key: None,
            locks: Locks::Keys,
            locks_for: None,
            group: Group::Generic,
            since: "1.0.0",
            summary: "",
            complexity: "",
            categories: &[],
            deprecated: None,
            subcommands: Vec::new(),
            id: 0,
            parent: None,
        }
    }

    /// A command that only groups subcommands.
    pub fn container(name: &'static str, subcommands: Vec<Command>) -> Self {
        let mut c = Self::new(name, Arity::at_least(2), |_, _| Err(super::CommandError::SYNTAX));
        c.subcommands = subcommands;
        c
    }

    fn flag(mut self, flag: Flags) -> Self {
        self.flags = self.flags.with(flag);
        self
    }

    /// Changes data. Implies that the command is journalled when it did.
    pub fn write(self) -> Self {
        self.flag(Flags::WRITE)
    }

    pub fn readonly(self) -> Self {
        self.flag(Flags::READONLY)
    }

    /// Refused when out of memory.
    pub fn denyoom(self) -> Self {
        self.flag(Flags::DENYOOM)
    }

    pub fn fast(self) -> Self {
        self.flag(Flags::FAST)
    }

    pub fn admin(self) -> Self {
        self.flag(Flags::ADMIN)
    }

    pub fn noscript(self) -> Self {
        self.flag(Flags::NOSCRIPT)
    }

    pub fn loading(self) -> Self {
        self.flag(Flags::LOADING)
    }

    pub fn stale(self) -> Self {
        self.flag(Flags::STALE)
    }

    pub fn no_auth(self) -> Self {
        self.flag(Flags::NO_AUTH)
    }

    pub fn pubsub(self) -> Self {
        self.flag(Flags::PUBSUB)
    }

    pub fn blocking(self) -> Self {
        self.flag(Flags::BLOCKING)
    }

    pub fn allow_busy(self) -> Self {
        self.flag(Flags::ALLOW_BUSY)
    }

    pub fn no_async_loading(self) -> Self {
        self.flag(Flags::NO_ASYNC_LOADING)
    }

    pub fn may_replicate(self) -> Self {
        self.flag(Flags::MAY_REPLICATE)
    }

    pub fn skip_monitor(self) -> Self {
        self.flag(Flags::SKIP_MONITOR)
    }

    pub fn skip_slowlog(self) -> Self {
        self.flag(Flags::SKIP_SLOWLOG)
    }

    pub fn no_mandatory_keys(self) -> Self {
        self.flag(Flags::NO_MANDATORY_KEYS)
    }

    pub fn no_multi(self) -> Self {
        self.flag(Flags::NO_MULTI)
    }

    pub fn sentinel(self) -> Self {
        self.flag(Flags::SENTINEL)
    }

    pub fn movablekeys(self) -> Self {
        self.flag(Flags::MOVABLEKEYS)
    }

    pub fn asking(self) -> Self {
        self.flag(Flags::ASKING)
    }

    pub fn touches_arbitrary_keys(self) -> Self {
        self.flag(Flags::TOUCHES_ARBITRARY_KEYS)
    }

    /// Waits for something outside of the server.
    pub fn waits_outside(self) -> Self {
        self.flag(Flags::WAITS_OUTSIDE)
    }

    /// Runs even inside MULTI.
    pub fn unqueued(self) -> Self {
        self.flag(Flags::UNQUEUED)
    }

    /// Allowed to a RESP2 client that has subscriptions.
    pub fn in_subscribe(self) -> Self {
        self.flag(Flags::IN_SUBSCRIBE)
    }

    /// One key at argument `index`.
    pub fn key(self, index: usize, flags: &'static str) -> Self {
        self.range(index, 0, 1, flags)
    }

    /// Keys from argument `first` to `last` (relative to `first`; negative: from the end), every `step`.
    pub fn range(mut self, first: usize, last: isize, step: usize, flags: &'static str) -> Self {
        self.specs.push(KeySpec {
            begin: Begin::Index(first),
            find: Find::Range { last, step, limit: 0 },
            flags,
        });
        self
    }

    /// A count of keys at argument `at`, the keys right after it.
    pub fn keynum(mut self, at: usize, flags: &'static str) -> Self {
        self.specs.push(KeySpec {
            begin: Begin::Index(at),
            find: Find::KeyNum { index: 0, first: 1, step: 1 },
            flags,
        });
        self.movablekeys()
    }

    pub fn spec(mut self, begin: Begin, find: Find, flags: &'static str) -> Self {
        self.specs.push(KeySpec { begin, find, flags });
        self
    }

    /// Finds the keys where the specifications cannot.
    pub fn finder(mut self, finder: KeyFinder) -> Self {
        self.finder = Some(finder);
        self.movablekeys()
    }

    pub fn locks(mut self, locks: Locks) -> Self {
        self.locks = locks;
        self
    }

    /// Chooses the locks by the arguments.
    pub fn locks_for(mut self, choose: fn(Args<'_>) -> Locks) -> Self {
        self.locks_for = Some(choose);
        self
    }

    /// What a request locks.
    #[inline]
    pub fn locks_of(&self, args: Args<'_>) -> Locks {
        self.locks_for.map_or(self.locks, |choose| choose(args))
    }

    pub fn group(mut self, group: Group) -> Self {
        self.group = group;
        for s in &mut self.subcommands {
            s.group = group;
        }
        self
    }

    pub fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    pub fn doc(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    pub fn complexity(mut self, complexity: &'static str) -> Self {
        self.complexity = complexity;
        self
    }

    pub fn categories(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    /// Deprecated since a version, in favour of something.
    pub fn deprecated(mut self, since: &'static str, instead: &'static str) -> Self {
        self.deprecated = Some((since, instead));
        self
    }

    /// A command on declared keys that neither waits nor steers the connection: may share its locks with others.
    #[inline]
    pub fn is_plain(&self) -> bool {
        const NOT: Flags = Flags::BLOCKING
            .with(Flags::UNQUEUED)
            .with(Flags::PUBSUB)
            .with(Flags::ADMIN)
            .with(Flags::WAITS_OUTSIDE);
        self.locks == Locks::Keys
            && self.locks_for.is_none()
            && !self.specs.is_empty()
            && !self.flags.has(NOT)
    }

    /// What `only_key` is to be: of commands that lock just their keys, and whose arity vouches for the argument.
    pub(super) fn find_only_key(&self) -> Option<usize> {
        match self.specs.as_slice() {
            [KeySpec { begin: Begin::Index(i), find: Find::Range { last: 0, .. }, .. }]
                if self.locks == Locks::Keys
                    && self.locks_for.is_none()
                    && self.finder.is_none()
                    && self.arity.least() > *i =>
            {
                Some(*i)
            }
            _ => None,
        }
    }

    /// Calls back with the index and the flags of each key. `false` when the arguments cannot be right.
    pub fn each_key(&self, args: Args<'_>, found: &mut dyn FnMut(usize, &'static str)) -> bool {
        if let Some(finder) = self.finder {
            finder(args, found);
            return true;
        }
        let mut valid = true;
        for spec in &self.specs {
            valid &= spec.each_key(args, found);
        }
        valid
    }
}

impl KeySpec {
    fn each_key(&self, args: Args<'_>, found: &mut dyn FnMut(usize, &'static str)) -> bool {
        let argc = args.len();
        let start = match self.begin {
            Begin::Index(i) => i,
            Begin::Keyword(word, from) => {
                let is_word = |i: &usize| args[*i].eq_ignore_ascii_case(word.as_bytes());
                let at = if from >= 0 {
                    (from as usize..argc).find(is_word)
                } else {
                    (1..argc.saturating_sub(from.unsigned_abs() - 1)).rev().find(is_word)
                };
                match at {
                    Some(i) => i + 1,
                    None => return true,
                }
            }
        };
        if start >= argc {
            return false;
        }
        let (first, last, step) = match self.find {
            Find::Range { last, step, limit } => {
                let end = if last >= 0 {
                    start + last as usize
                } else if limit > 1 {
                    start + (argc - start) / limit + 1 - (last.unsigned_abs() + 1)
                } else {
                    let Some(end) = argc.checked_sub(last.unsigned_abs()) else { return false };
                    end
                };
                (start, end, step)
            }
            Find::KeyNum { index, first, step } => {
                let Some(n) = args.get(start + index).and_then(crate::base::num::parse_i64) else {
                    return false;
                };
                let Ok(n) = usize::try_from(n) else { return false };
                if n == 0 {
                    return true;
                }
                if n > argc {
                    return false;
                }
                (start + first, start + first + (n - 1) * step, step)
            }
            Find::Unknown => return true,
        };
        if last >= argc {
            return false;
        }
        let mut i = first;
        while i <= last {
            found(i, self.flags);
            i += step.max(1);
        }
        true
    }
}
