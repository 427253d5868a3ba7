//! Streams in RDB: blocks of entries, each a listpack under its first id, then the stream's figures and its groups.
//!
//! ```text
//! blocks: (id: 16 bytes, big endian, as a string | listpack)...
//! length | last id | from 7.0: first id | highest deleted id | entries ever added
//! groups: name | last id | from 7.0: entries read | pending: (id | time | count)... | consumers:
//!   name | seen time | from 7.2: active time | pending: id...
//! ```
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::decode::Decoded;
use super::encode::{self, Sink};
use super::error::RdbError;
use super::input::Input;
use super::types;
use crate::value::cell::Cell;
use crate::value::stream::Stream;
use crate::value::stream::group::{Group, Nack};
use crate::value::stream::id::StreamId;

/// What stands for "not known" as a count of entries read.
const UNKNOWN: u64 = u64::MAX;

/// A pending entry whose consumer is still to come.
struct Unowned {
    time_ms: u64,
    count: u64,
    owned: bool,
}

pub(super) fn decode<I: Input>(ty: u8, key: &[u8], input: &mut I) -> Result<Decoded, RdbError> {
    Ok(Decoded::Cell(stream(ty, input)?.into_cell(key)))
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
    encode::length(sink, stream.groups.len() as u64);
    for (name, group) in stream.groups.iter() {
        encode::string(sink, name, options);
        put_id(sink, group.last_id);
        encode::length(sink, group.entries_read.unwrap_or(UNKNOWN));
        encode::length(sink, group.pending_len() as u64);
        for (id, nack) in group.pending_from(StreamId::MIN) {
            sink.put(&id.to_bytes());
            sink.put(&nack.time_ms.to_le_bytes());
            encode::length(sink, nack.count);
        }
        encode::length(sink, group.consumers_len() as u64);
        for (_, consumer) in group.consumers() {
            encode::string(sink, consumer.name(), options);
            sink.put(&consumer.seen_ms.to_le_bytes());
            encode::length(sink, consumer.pending_len() as u64);
            consumer.pending_from(StreamId::MIN).for_each(|id| sink.put(&id.to_bytes()));
        }
    }
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

fn stream<I: Input>(ty: u8, input: &mut I) -> Result<Stream, RdbError> {
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
    for _ in 0..input.number()? {
        let mut name = Vec::new();
        input.text(&mut name)?;
        let group = group(ty, &stream, input)?;
        if !stream.groups.create(&name, group) {
            let name = name.escape_ascii();
            return Err(RdbError::corrupt(start, format!("Duplicated consumer group name {name}")));
        }
    }
    Ok(stream)
}

fn group<I: Input>(ty: u8, stream: &Stream, input: &mut I) -> Result<Group, RdbError> {
    let last_id = id_of_numbers(input)?;
    let entries_read = match ty {
        types::STREAM => estimate_read(stream, last_id),
        _ => Some(input.number()?).filter(|&n| n != UNKNOWN),
    };
    let mut group = Group::new(last_id, entries_read);
    let mut pending = BTreeMap::new();
    for _ in 0..input.number()? {
        let offset = input.offset();
        let id = raw_id(input)?;
        let time_ms = time(input)?.unwrap_or(0);
        let unowned = Unowned { time_ms, count: input.number()?, owned: false };
        if pending.insert(id, unowned).is_some() {
            let what = "Duplicated global PEL entry loading stream consumer group";
            return Err(RdbError::corrupt(offset, what));
        }
    }
    let mut name = Vec::new();
    for _ in 0..input.number()? {
        let offset = input.offset();
        input.text(&mut name)?;
        let seen_ms = time(input)?.unwrap_or(0);
        // Before 7.2 there was but one clock; Redis takes it for both.
        let active_ms = if ty == types::STREAM_3 { time(input)? } else { Some(seen_ms) };
        let Some(consumer) = group.create_consumer(&name, seen_ms) else {
            return Err(RdbError::corrupt(offset, "Duplicate stream consumer detected"));
        };
        group.set_clocks(consumer, seen_ms, active_ms);
        for _ in 0..input.number()? {
            let offset = input.offset();
            let id = raw_id(input)?;
            let Some(entry) = pending.get_mut(&id) else {
                return Err(RdbError::corrupt(offset, "Consumer entry not found in group global PEL"));
            };
            if entry.owned {
                let what = "Stream consumer PEL entry already has a consumer assigned";
                return Err(RdbError::corrupt(offset, what));
            }
            entry.owned = true;
            group.assign(id, Nack { consumer, time_ms: entry.time_ms, count: entry.count });
        }
    }
    if group.pending_len() < pending.len() {
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

    fn read(bytes: &[u8]) -> Result<Stream, RdbError> {
        let mut input = Slice::new(bytes);
        let stream = stream(types::STREAM_2, &mut input)?;
        assert_eq!(input.left(), 0);
        Ok(stream)
    }

    #[test]
    fn a_real_stream() {
        let s = read(STREAM).unwrap();
        let id = StreamId::new;
        assert_eq!((s.blocks_len(), s.len(), s.entries_added, s.groups.len()), (1, 2, 3, 2));
        assert_eq!((s.first_id, s.last_id, s.max_deleted_id), (id(1, 1), id(7, 0), id(1, 5)));
        let (g, h) = (s.groups.get(b"g").unwrap(), s.groups.get(b"h").unwrap());
        assert_eq!((g.last_id, g.entries_read, g.pending_len()), (id(7, 0), Some(3), 2));
        let owner =
            |at| (g.consumer(g.nack(at).unwrap().consumer).unwrap().name(), g.nack(at).unwrap().count);
        assert_eq!((owner(id(1, 1)), owner(id(7, 0))), ((&b"alice"[..], 1), (&b"bob"[..], 1)));
        let alice = g.consumer(g.consumer_id(b"alice").unwrap()).unwrap();
        assert_eq!((alice.seen_ms, alice.active_ms), (0x01a1_fc99_a56d, Some(0x01a1_fc99_a56d)));
        assert_eq!((h.entries_read, h.pending_len(), h.consumers_len()), (None, 0, 1));
        let e = read(EMPTIED).unwrap();
        assert_eq!((e.len(), e.last_id, e.groups.len()), (0, id(5, 5), 1));
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        for bytes in [STREAM, EMPTIED] {
            let mut out = Vec::new();
            encode(&mut out, &read(bytes).unwrap().into_cell(b"s"), &encode::Options { compress: false });
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn damage_is_refused_or_does_no_harm() {
        for at in 0..STREAM.len() {
            for byte in [0, 1, 2, 0x7f, 0x81, 0xff, STREAM[at] ^ 1, STREAM[at] ^ 4] {
                let mut bad = STREAM.to_vec();
                bad[at] = byte;
                let mut input = Slice::new(&bad);
                if let Ok(s) = stream(types::STREAM_2, &mut input) {
                    assert!(s.len() <= 3 && s.groups.len() <= 3, "{at}");
                }
            }
            let mut cut = Slice::new(&STREAM[..at]);
            assert!(stream(types::STREAM_2, &mut cut).is_err());
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
