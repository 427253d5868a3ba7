//! The settings that hot paths read, one set an engine: relaxed atomics, so CONFIG SET shows at once and costs readers
//! nothing. Names and defaults are Redis 7.2's; bytes unless the name says otherwise.
use std::ops::Deref;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

/// An atomic that is read and written relaxed: a setting orders nothing.
#[derive(Debug, Default)]
pub struct Knob<A>(A);

impl<A> Deref for Knob<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.0
    }
}

macro_rules! knobs {
    ($($atomic:ident $plain:ident),*) => {$(
        impl Knob<$atomic> {
            pub const fn new(v: $plain) -> Self {
                Knob($atomic::new(v))
            }

            #[inline]
            pub fn get(&self) -> $plain {
                self.0.load(Relaxed)
            }

            #[inline]
            pub fn set(&self, v: $plain) {
                self.0.store(v, Relaxed);
            }
        }
    )*};
}

knobs!(AtomicUsize usize, AtomicI64 i64, AtomicU64 u64, AtomicU32 u32, AtomicU8 u8, AtomicBool bool);

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $atomic:ident = $default:expr,)*) => {
        /// An engine's settings.
        #[derive(Debug)]
        pub struct Limits {
            $($(#[$doc])* pub $name: Knob<$atomic>,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $($name: Knob::<$atomic>::new($default),)* }
            }
        }
    };
}

limits! {
    hash_max_listpack_entries: AtomicUsize = 512,
    hash_max_listpack_value: AtomicUsize = 64,
    /// Entries a node when positive; -1 to -5 are 4, 8, 16, 32 and 64 KiB a node.
    list_max_listpack_size: AtomicI64 = -2,
    /// Nodes left uncompressed at each end; 0 compresses none.
    list_compress_depth: AtomicUsize = 0,
    set_max_intset_entries: AtomicUsize = 512,
    set_max_listpack_entries: AtomicUsize = 128,
    set_max_listpack_value: AtomicUsize = 64,
    zset_max_listpack_entries: AtomicUsize = 128,
    zset_max_listpack_value: AtomicUsize = 64,
    hll_sparse_max_bytes: AtomicUsize = 3000,
    stream_node_max_bytes: AtomicUsize = 4096,
    stream_node_max_entries: AtomicUsize = 100,
    /// An element from this size on gets a list node of its own (DEBUG QUICKLIST-PACKED-THRESHOLD).
    quicklist_packed_threshold: AtomicUsize = 1 << 30,
    /// Compress strings in dumps.
    rdb_compression: AtomicBool = true,
    /// Take a payload of RESTORE for good whatever its checksum (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
    skip_checksum_validation: AtomicBool = false,
    proto_max_bulk_len: AtomicUsize = 512 << 20,
    client_query_buffer_limit: AtomicUsize = 1 << 30,
    /// 0 is no limit.
    maxmemory: AtomicUsize = 0,
    /// A `MaxmemoryPolicy`; see `Limits::policy`.
    maxmemory_policy: AtomicU8 = MaxmemoryPolicy::NoEviction as u8,
    maxmemory_samples: AtomicUsize = 5,
    maxmemory_eviction_tenacity: AtomicUsize = 10,
    lfu_log_factor: AtomicUsize = 10,
    /// Minutes.
    lfu_decay_time: AtomicUsize = 1,
    /// The classes of keyspace events to publish; 0 is none.
    notify_flags: AtomicU32 = 0,
    lazyfree_lazy_eviction: AtomicBool = false,
    lazyfree_lazy_expire: AtomicBool = false,
    lazyfree_lazy_server_del: AtomicBool = false,
    lazyfree_lazy_user_del: AtomicBool = false,
    lazyfree_lazy_user_flush: AtomicBool = false,
    active_expire_enabled: AtomicBool = true,
    /// 1 to 10.
    active_expire_effort: AtomicUsize = 1,
    /// Microseconds; negative logs nothing, 0 everything.
    slowlog_log_slower_than: AtomicI64 = 10_000,
    slowlog_max_len: AtomicUsize = 128,
    /// Milliseconds; 0 is off.
    latency_monitor_threshold: AtomicU64 = 0,
    maxclients: AtomicUsize = 10_000,
    /// 0 is no limit; below 0, percent of `maxmemory`. See `Limits::client_memory`.
    maxmemory_clients: AtomicI64 = 0,
    /// 0 keeps idle clients.
    timeout_s: AtomicU64 = 0,
    tcp_keepalive_s: AtomicU64 = 300,
    hz: AtomicUsize = 10,
    /// Records that are applied in one step, at most.
    kafka_batch_records: AtomicUsize = 128,
    /// Microseconds that such a step should take, at most.
    kafka_batch_us: AtomicU64 = 50,
    /// Of records that are fetched ahead, by each pipeline.
    kafka_buffer_bytes: AtomicUsize = 64 << 20,
    /// Report encodings as Redis 7.0 does, which knows no packed lists and string sets (`compat-version 7.0`).
    report_as_7_0: AtomicBool = false,
}

impl Limits {
    pub fn new() -> Self {
        Self::default()
    }

    /// How much all clients together may occupy, `None` when that is not limited. A limit that would leave no room to
    /// talk to the server at all is raised.
    #[inline]
    pub fn client_memory(&self) -> Option<usize> {
        let limit = match self.maxmemory_clients.get() {
            0 => return None,
            percent @ ..0 => {
                let whole = Some(self.maxmemory.get()).filter(|&n| n > 0)?;
                (whole as u128 * u128::from(percent.unsigned_abs()) / 100) as usize
            }
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        Some(limit.max(128 << 10))
    }

    #[inline]
    pub fn policy(&self) -> MaxmemoryPolicy {
        let v = self.maxmemory_policy.get();
        MaxmemoryPolicy::ALL.get(usize::from(v)).copied().unwrap_or(MaxmemoryPolicy::NoEviction)
    }

    pub fn set_policy(&self, p: MaxmemoryPolicy) {
        self.maxmemory_policy.set(p as u8);
    }
}

/// What goes when memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum MaxmemoryPolicy {
    VolatileLru,
    AllkeysLru,
    VolatileLfu,
    AllkeysLfu,
    VolatileRandom,
    AllkeysRandom,
    VolatileTtl,
    #[default]
    NoEviction,
}

impl MaxmemoryPolicy {
    /// In the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::VolatileLru,
        Self::AllkeysLru,
        Self::VolatileLfu,
        Self::AllkeysLfu,
        Self::VolatileRandom,
        Self::AllkeysRandom,
        Self::VolatileTtl,
        Self::NoEviction,
    ];

    /// As the configuration spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VolatileLru => "volatile-lru",
            Self::AllkeysLru => "allkeys-lru",
            Self::VolatileLfu => "volatile-lfu",
            Self::AllkeysLfu => "allkeys-lfu",
            Self::VolatileRandom => "volatile-random",
            Self::AllkeysRandom => "allkeys-random",
            Self::VolatileTtl => "volatile-ttl",
            Self::NoEviction => "noeviction",
        }
    }

    /// From its name, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether keys keep a use counter instead of an access time.
    pub const fn is_lfu(self) -> bool {
        matches!(self, Self::VolatileLfu | Self::AllkeysLfu)
    }

    /// Whether keys keep an access time that eviction looks at.
    pub const fn is_lru(self) -> bool {
        matches!(self, Self::VolatileLru | Self::AllkeysLru)
    }

    /// Whether keys without an expiry may go too.
    pub const fn is_allkeys(self) -> bool {
        matches!(self, Self::AllkeysLru | Self::AllkeysLfu | Self::AllkeysRandom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_changes() {
        let l = Limits::new();
        assert_eq!((l.hash_max_listpack_entries.get(), l.list_max_listpack_size.get()), (512, -2));
        assert!(l.active_expire_enabled.get() && !l.lazyfree_lazy_expire.get());
        assert_eq!(l.policy(), MaxmemoryPolicy::NoEviction);
        l.hash_max_listpack_entries.set(4);
        assert_eq!(l.hash_max_listpack_entries.load(Relaxed), 4);
        l.maxmemory_policy.set(200);
        assert_eq!(l.policy(), MaxmemoryPolicy::NoEviction);
    }

    #[test]
    fn policies_by_name() {
        let l = Limits::new();
        for (i, p) in MaxmemoryPolicy::ALL.into_iter().enumerate() {
            assert_eq!(p as usize, i);
            assert_eq!(MaxmemoryPolicy::parse(p.name().as_bytes()), Some(p));
            l.set_policy(p);
            assert_eq!(l.policy(), p);
        }
        assert_eq!(MaxmemoryPolicy::parse(b"AllKeys-LRU"), Some(MaxmemoryPolicy::AllkeysLru));
        assert_eq!(MaxmemoryPolicy::parse(b"lru"), None);
        assert!(MaxmemoryPolicy::VolatileLfu.is_lfu() && !MaxmemoryPolicy::VolatileLfu.is_allkeys());
    }
}
