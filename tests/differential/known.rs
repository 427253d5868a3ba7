//! Where Redis 7.2, which is our specification, answers otherwise than the 7.0 that may be installed. What can be avoided is
//! not sent at all: arguments that only one version takes (ZRANK's WITHSCORE, COMMAND GETKEYS without arguments).
use crate::support::wire::{Args, Node};

/// Why these two replies may differ; `None` when they must not.
pub fn reason(args: &Args, oracle: &Node, ours: &Node) -> Option<&'static str> {
    let name = args.first()?.to_ascii_uppercase();
    match name.as_slice() {
        b"BITCOUNT" | b"BITPOS"
            if ours.is_error() && (oracle.int().is_some() || oracle.raw.starts_with(b"-WRONGTYPE")) =>
        {
            Some("7.2 checks the range before it looks at the key")
        }
        b"XREADGROUP" if oracle.is_error() && ours.raw.starts_with(b"-ERR Unbalanced 'xreadgroup'") => {
            Some("7.2 names the command and says `>`")
        }
        b"XPENDING" if same_but(oracle, ours, 2) => Some("idle times are each server's own"),
        b"XINFO" if same_but(oracle, ours, 3) => {
            Some("7.2 makes a consumer even when there is nothing to read or claim")
        }
        _ if same_doubles(oracle, ours) => Some("7.2 prints doubles with as few digits as they need"),
        _ => None,
    }
}

/// As `reason`, but from here on the two servers may hold different data: what follows cannot be compared. EXEC answers for
/// many commands.
pub fn parts_ways(oracle: &Node, ours: &Node) -> Option<&'static str> {
    let refused = b"-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
    if oracle.raw != ours.raw && ours.raw.starts_with(refused) {
        return Some("7.2 lets no ID come back that was deleted");
    }
    oracle.parts.iter().zip(&ours.parts).find_map(|(oracle, ours)| parts_ways(oracle, ours))
}

/// Whether two lists of rows differ in integers at one place of a row alone; a row of pairs may be a map.
fn same_but(oracle: &Node, ours: &Node, place: usize) -> bool {
    let same_row = |(a, b): (&Node, &Node)| {
        let same = |(i, (a, b)): (usize, (&Node, &Node))| {
            a.raw == b.raw || (i == place && a.int().is_some() && b.int().is_some())
        };
        a.parts.len() == b.parts.len() && a.parts.iter().zip(&b.parts).enumerate().all(same)
    };
    oracle.kind() == b'*'
        && oracle.parts.len() == ours.parts.len()
        && oracle.parts.iter().zip(&ours.parts).all(same_row)
}

/// A reply that is a number, as text too.
fn number(node: &Node) -> Option<(&str, f64)> {
    let text = node.bulk().or_else(|| node.raw.strip_prefix(b","))?;
    let text = std::str::from_utf8(text).ok()?.trim_end();
    text.parse().ok().map(|n| (text, n))
}

/// Whether all that differs is how doubles of many digits are printed, or that 7.2 takes an exponent earlier.
fn same_doubles(oracle: &Node, ours: &Node) -> bool {
    let printed = |theirs: &str, ours: &str| {
        theirs.len() >= 16 || (theirs.contains('.') && !theirs.contains('e') && ours.contains('e'))
    };
    let alike = oracle.raw == ours.raw
        || matches!((number(oracle), number(ours)), (Some((t, a)), Some((o, b))) if a == b && printed(t, o));
    let parts = || oracle.parts.iter().zip(&ours.parts).all(|(a, b)| same_doubles(a, b));
    alike || (!oracle.parts.is_empty() && oracle.parts.len() == ours.parts.len() && parts())
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
            // 7.2 goes by how many elements a command brings, before it finds that they repeat.
            (Some(b"listpack"), Some(b"skiplist" | b"hashtable")) => true,
            (Some(b"intset"), Some(b"hashtable")) => true,
            _ => false,
        }
}
