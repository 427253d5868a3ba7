//! Where Redis 7.2, which is our specification, answers otherwise than the 7.0 that may be installed.
use crate::support::wire::{Args, Node};

/// Why these two replies may differ; `None` when they must not.
pub fn reason(args: &Args, oracle: &Node, ours: &Node) -> Option<&'static str> {
    let name = args.first()?.to_ascii_uppercase();
    match name.as_slice() {
        b"ZRANK" | b"ZREVRANK"
            if args.len() == 4 && oracle.raw.starts_with(b"-ERR wrong number") && ours.is_error() =>
        {
            Some("7.2 has ZRANK key member WITHSCORE")
        }
        b"BITCOUNT" | b"BITPOS"
            if ours.is_error() && (oracle.int().is_some() || oracle.raw.starts_with(b"-WRONGTYPE")) =>
        {
            Some("7.2 checks the range before it looks at the key")
        }
        b"COMMAND" if args.len() == 3 && oracle.raw.starts_with(b"-ERR wrong number") && ours.is_error() => {
            Some("7.2's COMMAND GETKEYS takes a command without arguments")
        }
        _ => None,
    }
}

/// Whether two answers of OBJECT ENCODING mean the same.
pub fn same_encoding(oracle: &Node, ours: &Node) -> bool {
    oracle.raw == ours.raw
        || match (oracle.bulk(), ours.bulk()) {
            // 7.2 keeps small lists in one listpack, without a quicklist around it.
            (Some(b"quicklist"), Some(b"listpack")) => true,
            // 7.2 has listpacks for small sets that are not all integers.
            (Some(b"hashtable"), Some(b"listpack")) => true,
            // SORT turns a small sorted set into a skiplist there; here it leaves it alone.
            (Some(b"skiplist"), Some(b"listpack")) => true,
            _ => false,
        }
}
