//! The sync log: what was promised of the last incremental file since that file was last synced itself.
//!
//! With `appendfsync always` each group of writes must be durable before it is answered. To sync a file that has grown, a
//! file system commits its new length to a journal of its own, and waits for that too; bytes replaced in place are durable
//! in about half the time. So each group goes into the file, unsynced, and into this log of fixed size, durably.
//! When the log is full, and each second, the file is synced and the log begins anew.
//!
//! - A process that dies has written everything into the file: the log is not needed.
//! - When the machine dies, the end of the file may be missing. [`recover`] adds it before the file is loaded.
//! - A server that stops removes the log. One that is left over says only what the file holds anyway, or lacks.
//!
//! **Format.** Records, each at a multiple of [`BLOCK`], numbers little-endian: `TWSYNC01`, generation, CRC-64 of the
//! file's name, offset in the file, length, CRC-64 of all that and of the bytes, each of 8 bytes; then the bytes. The log
//! holds the records of the first one's generation, as far as each begins where the one before it ends; behind them is
//! what an earlier generation left, or a write that was cut short and never acknowledged.
use crate::base::crc::crc64;
use crate::base::disk::{self, Disk, DiskOverwrite};
use crate::base::platform;
use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The log's size unless a test wants another. Each time it is full the file is synced: a thousand times as seldom as
/// without the log, for a few clients.
pub const LOG_BYTES: usize = 8 << 20;
/// What is replaced at once: what direct I/O asks of nearly every disk.
pub const BLOCK: usize = 4096;
/// Larger groups go to the file alone: the sync is then a small part of the work.
const RECORD_BYTES_MAX: usize = 1 << 20;
const MAGIC: &[u8; 8] = b"TWSYNC01";
const HEADER_BYTES: usize = 48;
/// Nobody's log is larger.
const READ_BYTES_MAX: u64 = 64 << 20;

/// A log that is being written. Its buffer holds what was appended to the file and is not durable yet.
pub struct SyncLog {
    file: Box<dyn DiskOverwrite>,
    path: PathBuf,
    bytes: usize,
    /// Where the next record goes.
    at: usize,
    generation: u64,
    /// Of the file's name.
    target: u64,
    /// Room for a header, and the bytes behind it, from `first` on, where it is aligned to a block. Never grows: it would
    /// move.
    buffer: Vec<u8>,
    first: usize,
    /// There is more than the buffer holds.
    has_overflown: bool,
}

impl SyncLog {
    /// Makes a log, in the place of what was there, of blocks that are written and durable.
    pub fn create(disk: &dyn Disk, path: &Path, bytes: usize, name: &OsStr) -> io::Result<SyncLog> {
        let bytes = bytes.next_multiple_of(BLOCK);
        let made = (|| {
            let mut file = disk.create(path)?;
            let zeros = vec![0; bytes.min(RECORD_BYTES_MAX)];
            let mut left = bytes;
            while left > 0 {
                let n = left.min(zeros.len());
                file.write_all(&zeros[..n])?;
                left -= n;
            }
            file.sync_all()?;
            disk.sync_dir(disk::parent(path))?;
            disk.open_overwrite(path)
        })();
        let file = made.inspect_err(|_| drop(disk.remove(path)))?;
        let mut buffer = Vec::<u8>::with_capacity(RECORD_BYTES_MAX.min(bytes) + BLOCK);
        let first = buffer.as_ptr().align_offset(BLOCK).min(BLOCK);
        buffer.resize(first + HEADER_BYTES, 0);
        Ok(SyncLog {
            file,
            path: path.into(),
            bytes,
            at: 0,
            generation: 1,
            target: target(name),
            buffer,
            first,
            has_overflown: false,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that were appended to the file.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > self.buffer.capacity() {
            self.has_overflown = true;
        } else if !self.has_overflown {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Makes what was pushed durable, as the file's bytes from `start` on. False: it does not fit, and the file is to be
    /// synced. After an error what was promised before is still in the log.
    pub fn commit(&mut self, start: u64) -> io::Result<bool> {
        let len = self.buffer.len() - self.first - HEADER_BYTES;
        let size = (HEADER_BYTES + len).next_multiple_of(BLOCK);
        let fits = self.at + size <= self.bytes && self.first + size <= self.buffer.capacity();
        if self.has_overflown || !fits {
            return Ok(false);
        }
        self.buffer.resize(self.first + size, 0);
        let record = &mut self.buffer[self.first..];
        let (header, bytes) = record.split_at_mut(HEADER_BYTES);
        header[..8].copy_from_slice(MAGIC);
        let numbers = [self.generation, self.target, start, len as u64];
        for (number, place) in numbers.into_iter().zip(header[8..40].chunks_exact_mut(8)) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc64(crc64(0, &header[..40]), &bytes[..len]);
        header[40..].copy_from_slice(&sum.to_le_bytes());
        let written = self.file.write_at(self.at as u64, record);
        self.buffer.truncate(self.first + HEADER_BYTES + len);
        written?;
        self.at += size;
        self.clear();
        Ok(true)
    }

    /// The file is durable as far as it goes: what is in the log is no longer needed.
    pub fn restart(&mut self) {
        self.at = 0;
        self.generation += 1;
        self.clear();
    }

    /// What is committed from here on is about this file.
    pub fn turn_to(&mut self, name: &OsStr) {
        self.target = target(name);
    }

    fn clear(&mut self) {
        self.buffer.truncate(self.first + HEADER_BYTES);
        self.has_overflown = false;
    }
}

fn target(name: &OsStr) -> u64 {
    crc64(0, platform::bytes(name))
}

/// What a log says of a file.
struct Found {
    start: u64,
    bytes: Vec<u8>,
}

/// What the log says of the file of that name; `None` when it says nothing.
fn read(disk: &dyn Disk, log: &Path, name: &OsStr) -> io::Result<Option<Found>> {
    let all = match disk.read(log, READ_BYTES_MAX) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let mut found: Option<(u64, Found)> = None;
    let mut rest = &all[..];
    while let Some((generation, start, bytes)) = record(rest, target(name)) {
        match &mut found {
            None => found = Some((generation, Found { start, bytes: bytes.to_vec() })),
            Some((first, so_far))
                if *first == generation && so_far.start + so_far.bytes.len() as u64 == start =>
            {
                so_far.bytes.extend_from_slice(bytes);
            }
            Some(_) => break,
        }
        rest = rest.get((HEADER_BYTES + bytes.len()).next_multiple_of(BLOCK)..).unwrap_or_default();
    }
    Ok(found.map(|(_, found)| found).filter(|found| !found.bytes.is_empty()))
}

/// The record at the beginning of `bytes`: its generation, and what it says of which place of the file.
fn record(bytes: &[u8], target: u64) -> Option<(u64, u64, &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let number = |at: usize| {
        let bytes = header[at..at + 8].try_into().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    let bytes = rest.get(..usize::try_from(number(32)).ok()?)?;
    let sum = crc64(crc64(0, &header[..40]), bytes);
    let (start, end) = (number(24), number(24).checked_add(number(32)));
    (header.starts_with(MAGIC) && number(40) == sum && number(16) == target && end.is_some()).then_some((
        number(8),
        start,
        bytes,
    ))
}

/// Why a log cannot be made use of.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it goes on at byte {start}, but the file has only {len}")]
    Gap { start: u64, len: u64 },
    #[error("byte {at} of the file is another one; has something else written to the file since?")]
    Differs { at: u64 },
}

/// How many bytes the log holds that the file lacks; with `add`, they are added, durably. Zeros, which some file systems
/// leave where data never came, count as missing wherever they are; what stands behind such a hole and was not promised goes.
pub fn recover(
    disk: &dyn Disk,
    log: &Path,
    name: &OsStr,
    path: &Path,
    add: bool,
) -> Result<u64, RecoverError> {
    let Some(Found { start, bytes }) = read(disk, log, name)? else { return Ok(0) };
    let len = disk.size(path)?;
    if len < start {
        return Err(RecoverError::Gap { start, len });
    }
    let mut file = disk.open_read(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut there = Vec::new();
    file.take(bytes.len() as u64).read_to_end(&mut there)?;
    let differ = || there.iter().zip(&bytes).enumerate().filter(|(_, (a, b))| a != b);
    if let Some((i, _)) = differ().find(|(_, (a, _))| **a != 0) {
        return Err(RecoverError::Differs { at: start + i as u64 });
    }
    let same = differ().next().map_or(there.len(), |(i, _)| i);
    let at = start + same as u64;
    let missing = &bytes[same..];
    if add && !missing.is_empty() {
        let mut file = disk.open_append(path)?;
        if len > at {
            file.set_len(at)?;
        }
        file.write_all(missing)?;
        file.sync_all()?;
    }
    Ok(missing.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::disk::fault::FaultDisk;

    const LOG: &str = "/log";
    const FILE: &str = "/file";

    fn disk() -> FaultDisk {
        let disk = FaultDisk::new(7);
        disk.create(Path::new(FILE)).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk
    }

    fn log(disk: &FaultDisk, blocks: usize) -> SyncLog {
        SyncLog::create(disk, Path::new(LOG), blocks * BLOCK, OsStr::new("file")).unwrap()
    }

    fn put(disk: &FaultDisk, text: &[u8]) {
        let mut file = disk.create(Path::new(FILE)).unwrap();
        file.write_all(text).unwrap();
        file.sync_all().unwrap();
    }

    fn recovered(disk: &FaultDisk) -> Result<(u64, String), String> {
        let added = recover(disk, Path::new(LOG), OsStr::new("file"), Path::new(FILE), true);
        let text = disk.read(Path::new(FILE), 1 << 20).unwrap().escape_ascii().to_string();
        added.map(|n| (n, text)).map_err(|e| e.to_string())
    }

    fn commit(log: &mut SyncLog, start: u64, text: &str) -> bool {
        log.push(text.as_bytes());
        log.commit(start).unwrap()
    }

    #[test]
    fn what_the_file_lacks_is_added() {
        for (there, added) in [
            ("", 6),
            ("ab", 4),
            ("abcdef", 0),
            ("abcdefgh", 0),
            ("abc\0\0", 3),
            ("\0", 6),
            ("ab\0de", 4),
            ("abc\0efgh", 3),
        ] {
            let disk = disk();
            let mut log = log(&disk, 4);
            assert!(commit(&mut log, 0, "abc") && commit(&mut log, 3, "def"));
            put(&disk, there.as_bytes());
            let whole = if there == "abcdefgh" { "abcdefgh" } else { "abcdef" };
            assert_eq!(recovered(&disk), Ok((added, whole.into())), "{there:?}");
            disk.crash_losing_all();
            assert_eq!(recovered(&disk), Ok((0, whole.into())), "{there:?}: it was durable");
        }
    }

    #[test]
    fn a_file_that_is_not_the_logs_is_not_touched() {
        let disk = disk();
        let mut log = log(&disk, 4);
        assert!(commit(&mut log, 2, "cdef"));
        for (there, why) in [("a", "only 1"), ("abcXe", "byte 3"), ("abc\0X", "byte 4"), ("abX", "byte 2")] {
            put(&disk, there.as_bytes());
            let e = recovered(&disk).unwrap_err();
            assert!(e.contains(why), "{e}");
            assert_eq!(disk.read(Path::new(FILE), 9).unwrap(), there.as_bytes());
        }
        // Another file's records are none.
        log.restart();
        log.turn_to(OsStr::new("other"));
        assert!(commit(&mut log, 0, "zzz"));
        put(&disk, b"ab");
        assert_eq!(recovered(&disk), Ok((0, "ab".into())));
    }

    #[test]
    fn a_new_generation_hides_the_old_one() {
        let disk = disk();
        let mut log = log(&disk, 3);
        put(&disk, b"abc");
        assert!(commit(&mut log, 0, "a") && commit(&mut log, 1, "b") && commit(&mut log, 2, "c"));
        assert!(!commit(&mut log, 3, "d"), "it is full");
        log.restart();
        assert_eq!(recovered(&disk), Ok((0, "abc".into())));
        assert!(commit(&mut log, 3, "d"));
        assert_eq!(recovered(&disk), Ok((1, "abcd".into())));
    }

    #[test]
    fn what_is_too_large_is_left_to_the_file() {
        let disk = disk();
        let mut log = log(&disk, 1024);
        log.push(&vec![b'x'; RECORD_BYTES_MAX]);
        log.push(b"y");
        assert!(!log.commit(0).unwrap());
        log.restart();
        assert!(commit(&mut log, 0, "abc"));
        assert_eq!(recovered(&disk), Ok((3, "abc".into())));
    }

    /// Torn anywhere, a record is there or not, and those before it are.
    #[test]
    fn a_record_that_is_cut_short_says_nothing() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..64 {
            let disk = FaultDisk::new(seed);
            disk.create(Path::new(FILE)).unwrap().sync_all().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            let mut log = log(&disk, 8);
            assert!(commit(&mut log, 0, "abc"));
            disk.crash_at(disk.ops());
            let large = "d".repeat(600);
            log.push(large.as_bytes());
            assert!(log.commit(3).is_err());
            disk.crash();
            match recovered(&disk).unwrap() {
                (3, text) if text == "abc" => lost += 1,
                (603, text) if text == format!("abc{large}") => kept += 1,
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(kept > 3 && lost > 3, "{kept} {lost}");
    }

    #[test]
    fn hostile_bytes_are_no_records() {
        let mut rng = crate::base::rng::Rng::from_seed(3);
        let disk = disk();
        let mut log = log(&disk, 2);
        assert!(commit(&mut log, 0, "abc"));
        let good = disk.read(Path::new(LOG), 1 << 20).unwrap();
        for _ in 0..2000 {
            let mut bad = good.clone();
            let at = rng.below((HEADER_BYTES + 3) as u64) as usize;
            bad[at] ^= 1 + rng.below(255) as u8;
            bad.truncate(at + rng.below(bad.len() as u64) as usize);
            let mut file = disk.create(Path::new(LOG)).unwrap();
            file.write_all(&bad).unwrap();
            assert_eq!(recovered(&disk), Ok((0, String::new())), "{at}");
        }
    }
}
