//! Streams in RDB: blocks of entries, each a listpack under its first id, then the stream's figures and its groups.
//!
//! ```text
//! blocks: (id: 16 bytes, big endian, as a string | listpack)...
//! length | last id | from 7.0: first id | highest deleted id | entries ever added
//! groups: name | last id | from 7.0: entries read | pending: (id | time | count)... | consumers:
//!   name | seen time | from 7.2: active time | pending: id...
//! ```
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use super::decode::Decoded;
use super::encode::{self, Sink};
use super::error::RdbError;
use super::input::Input;
use super::types;
use crate::value::cell::Cell;
use crate::value::stream::Stream;
use crate::value::stream::id::StreamId;

/// A stream as a file has it, validated: ids ascend, blocks are in order, pending entries have owners.
pub(super) struct Parts {
    pub stream: Stream,
    pub groups: Vec<Group>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub name: Vec<u8>,
    pub last_id: StreamId,
    /// `None` where it is not known.
    pub entries_read: Option<u64>,
    pub consumers: Vec<Consumer>,
    /// Every pending entry: the consumer's place, when it was delivered (Unix ms), how often.
    pub pending: BTreeMap<StreamId, Pending>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Consumer {
    pub name: Vec<u8>,
    /// Unix milliseconds.
    pub seen_ms: u64,
    /// `None`: never active.
    pub active_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) struct Pending {
    pub consumer: usize,
    pub delivered_ms: u64,
    pub deliveries: u64,
}

/// What stands for "not known" as a count of entries read.
const UNKNOWN: u64 = u64::MAX;
/// No owner yet.
const NOBODY: usize = usize::MAX;

pub(super) fn decode<I: Input>(ty: u8, key: &[u8], input: &mut I) -> Result<Decoded, RdbError> {
    let offset = input.offset();
    let Parts { stream, groups } = parts(ty, input)?;
    if !groups.is_empty() {
        return Err(RdbError::unsupported(offset, "consumer groups cannot be read yet"));
    }
    Ok(Decoded::Cell(stream.into_cell(key)))
}

pub(super) fn encode(sink: &mut impl Sink, cell: &Cell, options: &encode::Options) {
    let stream = cell.large::<Stream>();
    encode::length(sink, stream.blocks_len() as u64);
    for (master, block) in stream.blocks() {
        encode::string(sink, &master.to_bytes(), options);
        encode::string(sink, block, options);
    }
    encode::length(sink, stream.len());
    for id in [stream.last_id, stream.first_id, stream.max_deleted_id] {
        put_id(sink, id);
    }
    encode::length(sink, stream.entries_added);
    encode::length(sink, 0);
}

fn put_id(sink: &mut impl Sink, id: StreamId) {
    encode::length(sink, id.ms);
    encode::length(sink, id.seq);
}

fn id_of_numbers<I: Input>(input: &mut I) -> Result<StreamId, RdbError> {
    Ok(StreamId { ms: input.number()?, seq: input.number()? })
}

fn raw_id<I: Input>(input: &mut I) -> Result<StreamId, RdbError> {
    Ok(StreamId::from_bytes(input.array()?))
}

/// A time that Redis keeps signed; what is before 1970 says nothing.
fn time<I: Input>(input: &mut I) -> Result<Option<u64>, RdbError> {
    Ok(u64::try_from(i64::from_le_bytes(input.array()?)).ok())
}

pub(super) fn parts<I: Input>(ty: u8, input: &mut I) -> Result<Parts, RdbError> {
    let start = input.offset();
    let mut blocks = Vec::new();
    let mut scratch = Vec::new();
    for _ in 0..input.number()? {
        let offset = input.offset();
        let key: Option<[u8; 16]> = input.blob(&mut scratch)?.try_into().ok();
        let Some(key) = key else {
            return Err(RdbError::corrupt(offset, "Stream node key entry is not the size of a stream ID"));
        };
        blocks.push((StreamId::from_bytes(key), input.blob(&mut scratch)?.to_vec()));
    }
    let mut stream = Stream::from_blocks(blocks.iter().map(|(id, block)| (*id, block.as_slice())))
        .map_err(|_| RdbError::corrupt(start, "Stream listpack integrity check failed"))?;
    // What is there was counted.
    if input.number()? > 0 && blocks.is_empty() {
        return Err(RdbError::corrupt(start, "Stream length inconsistent with rax entries"));
    }
    drop(blocks);
    let last_id = id_of_numbers(input)?;
    // Ids to come are greater than this one; the entries' own must not be.
    if stream.last_id > last_id {
        return Err(RdbError::corrupt(start, "a stream's last ID is below that of an entry"));
    }
    stream.last_id = last_id;
    if ty != types::STREAM {
        // The first id was found already; what the file says of it may be anything.
        id_of_numbers(input)?;
        stream.max_deleted_id = id_of_numbers(input)?;
        stream.entries_added = input.number()?;
    }
    let mut parts = Parts { stream, groups: Vec::new() };
    let mut names = HashSet::new();
    for _ in 0..input.number()? {
        let group = group(ty, &parts.stream, input)?;
        if !names.insert(group.name.clone()) {
            let name = group.name.escape_ascii();
            return Err(RdbError::corrupt(start, format!("Duplicated consumer group name {name}")));
        }
        parts.groups.push(group);
    }
    Ok(parts)
}

fn group<I: Input>(ty: u8, stream: &Stream, input: &mut I) -> Result<Group, RdbError> {
    let mut group = Group::default();
    input.text(&mut group.name)?;
    group.last_id = id_of_numbers(input)?;
    group.entries_read = match ty {
        types::STREAM => estimate_read(stream, group.last_id),
        _ => Some(input.number()?).filter(|&n| n != UNKNOWN),
    };
    for _ in 0..input.number()? {
        let offset = input.offset();
        let id = raw_id(input)?;
        let delivered_ms = time(input)?.unwrap_or(0);
        let pending = Pending { consumer: NOBODY, delivered_ms, deliveries: input.number()? };
        if group.pending.insert(id, pending).is_some() {
            let what = "Duplicated global PEL entry loading stream consumer group";
            return Err(RdbError::corrupt(offset, what));
        }
    }
    let (mut owned, mut names) = (0, HashSet::new());
    for _ in 0..input.number()? {
        let offset = input.offset();
        let mut consumer = Consumer::default();
        input.text(&mut consumer.name)?;
        consumer.seen_ms = time(input)?.unwrap_or(0);
        consumer.active_ms = match ty {
            types::STREAM_3 => time(input)?,
            // As Redis takes it over.
            _ => Some(consumer.seen_ms),
        };
        let place = group.consumers.len();
        for _ in 0..input.number()? {
            let offset = input.offset();
            let id = raw_id(input)?;
            let Some(pending) = group.pending.get_mut(&id) else {
                return Err(RdbError::corrupt(offset, "Consumer entry not found in group global PEL"));
            };
            if pending.consumer != NOBODY {
                let what = "Stream consumer PEL entry already has a consumer assigned";
                return Err(RdbError::corrupt(offset, what));
            }
            pending.consumer = place;
            owned += 1;
        }
        if !names.insert(consumer.name.clone()) {
            return Err(RdbError::corrupt(offset, "Duplicate stream consumer detected"));
        }
        group.consumers.push(consumer);
    }
    if owned < group.pending.len() {
        return Err(RdbError::corrupt(input.offset(), "Stream CG PEL entry without consumer"));
    }
    Ok(group)
}

/// How many entries a group has read that has come to `id`, where that can be told: files of before 7.0 do not say.
fn estimate_read(stream: &Stream, id: StreamId) -> Option<u64> {
    let behind = stream.entries_added.saturating_sub(stream.len());
    if stream.entries_added == 0 {
        return Some(0);
    }
    if id == stream.last_id || (stream.is_empty() && id < stream.last_id) {
        return Some(stream.entries_added);
    }
    if id > stream.last_id || stream.max_deleted_id >= stream.first_id {
        return None;
    }
    match id.cmp(&stream.first_id) {
        Ordering::Less => Some(behind),
        Ordering::Equal => Some(behind.saturating_add(1)),
        Ordering::Greater => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::Slice;
    use super::*;

    /// As redis-server 7.0 writes it: `XADD s 1-1 a 1 b 2`, `1-5 a 3 b 4`, `7-0 c x`, `XDEL s 1-5`, a group whose two
    /// consumers have an entry each, and one at the end with an idle consumer.
    const STREAM: &[u8] = b"\x01\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x3e\x3e\0\0\0\x19\0\x02\x01\x01\x01\
        \x02\x01\x81a\x02\x81b\x02\0\x01\x02\x01\0\x01\0\x01\x01\x01\x02\x01\x05\x01\x03\x01\0\x01\x04\x01\x03\
        \x01\x04\x01\x05\x01\0\x01\x06\x01\xdf\xff\x02\x01\x01\x81c\x02\x81x\x02\x06\x01\xff\x02\x07\0\x01\x01\
        \x01\x05\x03\x02\x01g\x07\0\x03\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x6d\xa5\x99\xfc\xa1\x01\0\0\
        \x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\x6d\xa5\x99\xfc\xa1\x01\0\0\x01\x02\x05alice\x6d\xa5\x99\xfc\
        \xa1\x01\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x03bob\x6d\xa5\x99\xfc\xa1\x01\0\0\x01\0\0\0\0\
        \0\0\0\x07\0\0\0\0\0\0\0\0\x01h\x07\0\x81\xff\xff\xff\xff\xff\xff\xff\xff\0\x01\x04idle\x6d\xa5\x99\
        \xfc\xa1\x01\0\0\0";
    /// `XADD e 5-5 a b`, trimmed to nothing, with a group.
    const EMPTIED: &[u8] = b"\0\0\x05\x05\0\0\0\0\x01\x01\x01g\0\0\x81\xff\xff\xff\xff\xff\xff\xff\xff\0\0";

    fn read(bytes: &[u8]) -> Result<Parts, RdbError> {
        let mut input = Slice::new(bytes);
        let parts = parts(types::STREAM_2, &mut input)?;
        assert_eq!(input.left(), 0);
        Ok(parts)
    }

    #[test]
    fn a_real_stream() {
        let s = read(STREAM).unwrap();
        let (t, id) = (&s.stream, StreamId::new);
        assert_eq!((t.blocks_len(), t.len(), t.entries_added), (1, 2, 3));
        assert_eq!((t.first_id, t.last_id, t.max_deleted_id), (id(1, 1), id(7, 0), id(1, 5)));
        let [g, h] = &s.groups[..] else { panic!("two groups") };
        assert_eq!((&g.name[..], g.last_id, g.entries_read), (&b"g"[..], id(7, 0), Some(3)));
        let owners: Vec<_> = g.pending.iter().map(|(id, p)| (*id, p.consumer, p.deliveries)).collect();
        assert_eq!(owners, [(id(1, 1), 0, 1), (id(7, 0), 1, 1)]);
        assert_eq!(g.consumers.iter().map(|c| &c.name[..]).collect::<Vec<_>>(), [&b"alice"[..], b"bob"]);
        assert_eq!(g.consumers[0].seen_ms, 0x01a1_fc99_a56d);
        assert_eq!((h.entries_read, h.pending.len(), &h.consumers[0].name[..]), (None, 0, &b"idle"[..]));
        let e = read(EMPTIED).unwrap();
        assert_eq!((e.stream.len(), e.stream.last_id, e.groups.len()), (0, id(5, 5), 1));
    }

    #[test]
    fn damage_is_refused_or_does_no_harm() {
        for at in 0..STREAM.len() {
            for byte in [0, 1, 2, 0x7f, 0x81, 0xff, STREAM[at] ^ 1, STREAM[at] ^ 4] {
                let mut bad = STREAM.to_vec();
                bad[at] = byte;
                let mut input = Slice::new(&bad);
                if let Ok(s) = parts(types::STREAM_2, &mut input) {
                    assert!(s.stream.len() <= 3 && s.groups.len() <= 3, "{at}");
                }
            }
            let mut cut = Slice::new(&STREAM[..at]);
            assert!(parts(types::STREAM_2, &mut cut).is_err());
        }
        let twice = |from: &[u8], to: &[u8]| {
            let at = STREAM.windows(from.len()).position(|w| w == from).unwrap();
            let bad = [&STREAM[..at], to, &STREAM[at + from.len()..]].concat();
            read(&bad).map(|_| ()).unwrap_err().to_string()
        };
        assert!(twice(b"\x01h\x07\0", b"\x01g\x07\0").contains("Duplicated consumer group"));
        assert!(twice(b"\x03bob", b"\x05alice").contains("Duplicate stream consumer"));
        assert!(twice(b"\x01\x01\x81c", b"\x01\x02\x81c").contains("listpack integrity"));
    }
}
