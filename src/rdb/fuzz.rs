//! What must hold for any bytes, checked by panicking. The fuzz targets call it, and so do tests.
use std::io::Read;

use super::commands::payload;
use super::decode::{self, Decoded, Options};
use super::input::{Input, Slice};
use super::read::{Batch, Item, Reader};
use super::{can_read, skim};
use crate::base::limits::Limits;
use crate::value::cell::Cell;

const KEY: &[u8] = b"key";

fn small_limits() -> Limits {
    let l = Limits::new();
    l.hash_max_listpack_entries.set(8);
    l.set_max_intset_entries.set(8);
    l.set_max_listpack_entries.set(8);
    l.zset_max_listpack_entries.set(8);
    l.list_max_listpack_size.set(8);
    l
}

/// A value as RESTORE gets it: two bytes of version, one of type, the value.
pub fn value(data: &[u8]) {
    let Some((&[v0, v1, ty], bytes)) = data.split_first_chunk() else { return };
    let version = u32::from(u16::from_le_bytes([v0, v1]));
    if !can_read(version) {
        return;
    }
    let limits = small_limits();
    let options = Options { limits: &limits, seed: 1, version, skip_modules: true };
    let mut input = Slice::new(bytes);
    let Ok(decoded) = decode::value(ty, KEY, &mut input, &options) else { return };
    // A thread that only skims sees it end at the same place.
    let mut skimmed = Slice::new(bytes);
    skim::value(ty, version, &mut skimmed).expect("what can be decoded can be skimmed");
    assert_eq!(skimmed.left(), input.left());
    if let Decoded::Cell(cell) = decoded {
        goes_round(&cell, &limits);
    }
}

/// What was accepted can be written and read again.
fn goes_round(cell: &Cell, limits: &Limits) {
    for compress in [false, true] {
        let bytes = payload(cell, compress);
        let (body, footer) = bytes.split_last_chunk::<10>().expect("a footer");
        let version = u32::from(u16::from_le_bytes([footer[0], footer[1]]));
        let options = Options { limits, seed: 1, version, skip_modules: false };
        let (&ty, body) = body.split_first().expect("a type");
        match decode::whole_value(ty, KEY, body, 1, &options) {
            Ok(Decoded::Cell(back)) => {
                assert_eq!(back.ty(), cell.ty());
                assert_eq!(payload(&back, compress).len() > 10, bytes.len() > 10);
            }
            Ok(_) => panic!("what was read is no longer there"),
            Err(e) => panic!("what was read cannot be read again: {e}"),
        }
    }
}

/// A whole file: decoded in place, and cut into raw entries from a source that gives few bytes at a time.
pub fn file(data: &[u8]) {
    let limits = small_limits();
    let Some(found) = in_place(data, &limits) else {
        // The other way need not see what is wrong inside of values, but must end.
        let _ = raw(data, &limits);
        return;
    };
    assert_eq!(raw(data, &limits), Some(found));
}

/// How many entries, and how many of them were kept; `None` for a bad file.
fn in_place(data: &[u8], limits: &Limits) -> Option<(usize, usize)> {
    let mut reader = Reader::new(data, Some(data.len() as u64), false).ok()?;
    let options = Options { limits, seed: 1, version: reader.version(), skip_modules: true };
    let (mut entries, mut kept) = (0, 0);
    loop {
        match reader.next_item().ok()? {
            Item::Entry(_) => {
                reader.peek_length().ok()?;
                entries += 1;
                if let Some(Decoded::Cell(cell)) = reader.take_value(&options).ok()? {
                    kept += 1;
                    goes_round(&cell, limits);
                }
            }
            Item::End(_) => return Some((entries, kept)),
            _ => {}
        }
    }
}

fn raw(data: &[u8], limits: &Limits) -> Option<(usize, usize)> {
    struct Trickle<'a>(&'a [u8]);
    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let few = buf.len().min(13);
            self.0.read(&mut buf[..few])
        }
    }
    let mut reader = Reader::new(Trickle(data), None, false).ok()?;
    let options = Options { limits, seed: 1, version: reader.version(), skip_modules: true };
    let mut batch = Batch::default();
    loop {
        match reader.next_item().ok()? {
            Item::Entry(_) => reader.take_into(&mut batch, 0).ok()?,
            Item::End(_) => break,
            _ => {}
        }
    }
    let mut kept = 0;
    for (_, entry, key, value) in batch.iter() {
        if let Decoded::Cell(_) = decode::whole_value(entry.ty, key, value, entry.offset, &options).ok()? {
            kept += 1;
        }
    }
    Some((batch.len(), kept))
}
