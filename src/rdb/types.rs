//! The numbers that tell how a value is laid out. Some have had two meanings: the file's version decides.
use super::VERSION_VALKEY;

pub const STRING: u8 = 0;
pub const LIST: u8 = 1;
pub const SET: u8 = 2;
pub const ZSET: u8 = 3;
pub const HASH: u8 = 4;
pub const ZSET_2: u8 = 5;
pub const MODULE: u8 = 6;
pub const MODULE_2: u8 = 7;
pub const HASH_ZIPMAP: u8 = 9;
pub const LIST_ZIPLIST: u8 = 10;
pub const SET_INTSET: u8 = 11;
pub const ZSET_ZIPLIST: u8 = 12;
pub const HASH_ZIPLIST: u8 = 13;
pub const LIST_QUICKLIST: u8 = 14;
pub const STREAM: u8 = 15;
pub const HASH_LISTPACK: u8 = 16;
pub const ZSET_LISTPACK: u8 = 17;
pub const LIST_QUICKLIST_2: u8 = 18;
pub const STREAM_2: u8 = 19;
pub const SET_LISTPACK: u8 = 20;
pub const STREAM_3: u8 = 21;
/// Field TTLs before Redis 7.4 was released; in Valkey's versions another layout.
pub const HASH_TTL_PRE_GA: u8 = 22;
pub const HASH_LISTPACK_TTL_PRE_GA: u8 = 23;
pub const HASH_TTL: u8 = 24;
pub const HASH_LISTPACK_TTL: u8 = 25;

const NAMES: [&str; 26] = [
    "string",
    "list",
    "set",
    "zset",
    "hash",
    "zset-v2",
    "module-pre-release",
    "module-value",
    "",
    "hash-zipmap",
    "list-ziplist",
    "set-intset",
    "zset-ziplist",
    "hash-ziplist",
    "quicklist",
    "stream",
    "hash-listpack",
    "zset-listpack",
    "quicklist-v2",
    "stream-v2",
    "set-listpack",
    "stream-v3",
    "hash-hashtable-md-pre-release",
    "hash-listpack-md-pre-release",
    "hash-hashtable-md",
    "hash-listpack-md",
];

/// Whether a value of this type may occur in a file of this version.
pub fn is_known(ty: u8, version: u32) -> bool {
    let last = if version >= VERSION_VALKEY { 22 } else { 25 };
    ty != 8 && ty <= last
}

/// What the tools call it.
pub fn name(ty: u8, version: u32) -> &'static str {
    match ty {
        22 if version >= VERSION_VALKEY => "hash-v2",
        _ => NAMES.get(usize::from(ty)).copied().unwrap_or(""),
    }
}
