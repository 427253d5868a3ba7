//! For tests: a file system in memory that keeps what is written apart from what is durable, crashes between any two
//! operations, fails, fills up and is slow, all from a seed.
//!
//! An *operation* is whatever changes something: create (and open of a missing file), write, sync, set_len, rename, remove,
//! sync_dir, create_dir, overwrite. They are counted from 0. Nothing becomes durable by itself, but a crash may keep more than what
//! was synced: any part of the unsynced directory changes, of an unsynced write any beginning, and of an overwrite any of
//! its sectors.
use super::{Disk, DiskFile, DiskOverwrite, DiskRead, Stat, parent};
use crate::base::rng::Rng;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    Write,
    /// Of a file.
    Sync,
    /// In place, durably.
    Overwrite,
    SetLen,
    Rename,
    Remove,
    SyncDir,
    CreateDir,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. From a sync: the pages that were not durable yet never will be, as on Linux.
    Io,
    /// ENOSPC; a write first writes a part.
    Full,
}

impl Fault {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Fault::Io => libc::EIO,
            Fault::Full => libc::ENOSPC,
        })
    }
}

/// See the module. A clone is the same file system.
#[derive(Clone)]
pub struct FaultDisk(Arc<Mutex<State>>);

struct State {
    files: Vec<Content>,
    /// What is there now, and what is there after a crash. The root is no entry.
    live: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// What happened to directories since they were synced.
    unsynced: Vec<Change>,
    rng: Rng,
    ops: u64,
    log: Vec<String>,
    crash_at: Option<u64>,
    /// The machine is off until [`FaultDisk::crash`]; files opened before it stay dead.
    is_off: bool,
    boots: u64,
    fail_at: Option<(u64, Fault)>,
    failing: Vec<(Op, Fault, u64)>,
    capacity: Option<u64>,
    slow: Vec<(Op, Duration)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Parts of `bytes` that were dropped by a failed sync: readable until the crash, zeros after it.
    dropped: Vec<Range<usize>>,
}

struct Change {
    /// The directories that must be synced for it to be durable.
    dirs: Vec<PathBuf>,
    /// Names and what becomes of them, all or none.
    entries: Vec<(PathBuf, Option<Node>)>,
}

impl FaultDisk {
    pub fn new(seed: u64) -> Self {
        FaultDisk(Arc::new(Mutex::new(State {
            files: Vec::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            unsynced: Vec::new(),
            rng: Rng::from_seed(seed),
            ops: 0,
            log: Vec::new(),
            crash_at: None,
            is_off: false,
            boots: 0,
            fail_at: None,
            failing: Vec::new(),
            capacity: None,
            slow: Vec::new(),
        })))
    }

    /// Operations so far.
    pub fn ops(&self) -> u64 {
        self.0.lock().ops
    }

    /// What they were, for a failed test's message.
    pub fn log(&self) -> Vec<String> {
        self.0.lock().log.clone()
    }

    /// The power fails during operation `n`: it does not happen (a write may in part), nor does anything after it.
    pub fn crash_at(&self, n: u64) {
        self.0.lock().crash_at = Some(n);
    }

    /// Whether the moment of [`FaultDisk::crash_at`] has come.
    pub fn is_off(&self) -> bool {
        self.0.lock().is_off
    }

    /// The power fails, now or as was set, and the machine starts again: what is durable is there, of the rest some.
    pub fn crash(&self) {
        self.restart(false);
    }

    /// As [`FaultDisk::crash`], and nothing is there that was not synced.
    pub fn crash_losing_all(&self) {
        self.restart(true);
    }

    /// The process dies, the machine does not: all that was written is there, files opened before are dead.
    pub fn kill(&self) {
        let mut state = self.0.lock();
        (state.boots, state.is_off, state.crash_at) = (state.boots + 1, false, None);
    }

    fn restart(&self, lose_all: bool) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        (state.boots, state.is_off, state.crash_at) = (state.boots + 1, false, None);
        (state.fail_at, state.failing) = (None, Vec::new());
        for change in std::mem::take(&mut state.unsynced) {
            if !lose_all && state.rng.below(2) == 0 {
                apply(&mut state.durable, change.entries);
            }
        }
        state.live = state.durable.clone();
        // An entry whose directory was lost is lost with it.
        let known: Vec<PathBuf> = state.live.keys().cloned().collect();
        for path in known {
            if parent(&path) != Path::new("/") && state.live.get(parent(&path)) != Some(&Node::Dir) {
                state.live.remove(&path);
            }
        }
        state.durable = state.live.clone();
        for file in &mut state.files {
            file.crash(&mut state.rng, lose_all);
        }
    }

    /// Operation `n` fails, once.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        self.0.lock().fail_at = Some((n, fault));
    }

    /// The next `times` operations of this kind fail.
    pub fn fail(&self, op: Op, fault: Fault, times: u64) {
        let mut state = self.0.lock();
        state.failing.retain(|(o, _, _)| *o != op);
        state.failing.push((op, fault, times));
    }

    /// The disk holds that many bytes; `None`: any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Bytes of all files that are there.
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// From now on operations of this kind take so long.
    pub fn slow(&self, op: Op, time: Duration) {
        let mut state = self.0.lock();
        state.slow.retain(|(o, _)| *o != op);
        state.slow.push((op, time));
    }

    /// Begins an operation: counts it, and fails or ends the world when it is time.
    fn begin(&self, op: Op, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let slow = self.0.lock().slow.iter().find(|(o, _)| *o == op).map(|(_, time)| *time);
        if let Some(time) = slow {
            std::thread::sleep(time);
        }
        let mut state = self.0.lock();
        state.check_power()?;
        let n = state.ops;
        state.ops += 1;
        state.log.push(format!("{n}: {op:?} {}", path.display()));
        if state.crash_at == Some(n) {
            state.is_off = true;
            return Err(off(Some(state)));
        }
        if let Some((_, fault)) = state.fail_at.take_if(|(at, _)| *at == n) {
            return Err(fault.error());
        }
        match state.failing.iter_mut().find(|(o, _, times)| *o == op && *times > 0) {
            Some((_, fault, times)) => {
                *times -= 1;
                Err(fault.error())
            }
            _ => Ok(state),
        }
    }
}

fn off(_state: Option<MutexGuard<'_, State>>) -> io::Error {
    io::Error::other("the power is off")
}

fn apply(entries: &mut BTreeMap<PathBuf, Node>, change: Vec<(PathBuf, Option<Node>)>) {
    for (path, node) in change {
        match node {
            Some(node) => entries.insert(path, node),
            None => entries.remove(&path),
        };
    }
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        if self.is_off { Err(off(None)) } else { Ok(()) }
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        if path == Path::new("/") {
            return Ok(Node::Dir);
        }
        self.live.get(path).copied().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.node(path)? {
            Node::File(id) => Ok(id),
            Node::Dir => Err(io::Error::from_raw_os_error(libc::EISDIR)),
        }
    }

    fn dir(&self, path: &Path) -> io::Result<()> {
        match self.node(path)? {
            Node::Dir => Ok(()),
            Node::File(_) => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        }
    }

    fn change(&mut self, entries: Vec<(PathBuf, Option<Node>)>) {
        apply(&mut self.live, entries.clone());
        let mut dirs: Vec<PathBuf> = entries.iter().map(|(path, _)| parent(path).to_path_buf()).collect();
        dirs.dedup();
        self.unsynced.push(Change { dirs, entries });
    }

    fn add_file(&mut self, path: &Path) -> io::Result<usize> {
        self.dir(parent(path))?;
        self.files.push(Content::default());
        let id = self.files.len() - 1;
        self.change(vec![(path.to_path_buf(), Some(Node::File(id)))]);
        Ok(id)
    }

    fn used(&self) -> u64 {
        let size = |node: &Node| match node {
            Node::Dir => 0,
            Node::File(id) => self.files[*id].bytes.len() as u64,
        };
        self.live.values().map(size).sum()
    }
}

/// How many bytes are the same; blocks at a time, as files may be large.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.chunks(4096).zip(b.chunks(4096)).take_while(|(a, b)| a == b).count() * 4096;
    let blocks = blocks.min(a.len()).min(b.len());
    blocks + a[blocks..].iter().zip(&b[blocks..]).take_while(|(a, b)| a == b).count()
}

impl Content {
    fn sync(&mut self) {
        self.durable.clone_from(&self.bytes);
        for range in &self.dropped {
            let end = range.end.min(self.durable.len());
            if let Some(gone) = self.durable.get_mut(range.start..end) {
                gone.fill(0);
            }
        }
    }

    /// What a failed sync leaves: what was not durable is clean, and will not be written again.
    fn drop_dirty(&mut self) {
        let same = common_prefix(&self.bytes, &self.durable);
        if same < self.bytes.len() {
            self.dropped.push(same..self.bytes.len());
        }
    }

    fn crash(&mut self, rng: &mut Rng, lose_all: bool) {
        let same = common_prefix(&self.bytes, &self.durable);
        let safe =
            self.dropped.iter().map(|range| range.start).min().unwrap_or(usize::MAX).min(self.bytes.len());
        // Cut and then written anew, a file may be as it was, or as it is up to anywhere.
        if !lose_all && rng.below(4) != 0 && same <= safe {
            let end = same as u64 + rng.below((safe - same) as u64 + 1);
            let cut_was_kept = same == self.durable.len() || rng.below(2) == 0;
            if cut_was_kept {
                self.bytes.truncate(end as usize);
                self.durable.clone_from(&self.bytes);
            }
        }
        self.bytes.clone_from(&self.durable);
        self.dropped.clear();
    }
}

impl fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("FaultDisk")
            .field("ops", &state.ops)
            .field("live", &state.live)
            .finish_non_exhaustive()
    }
}

impl Disk for FaultDisk {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.check_power()?;
        if state.file(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            drop(state);
            state = self.begin(Op::Create, path)?;
            state.add_file(path)?;
        }
        let file = Handle { id: state.file(path)?, boot: state.boots, path: path.into(), disk: self.clone() };
        Ok(Box::new(file))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.begin(Op::Create, path)?;
        let id = match state.file(path) {
            Ok(id) => {
                // Its pages begin anew, those that a failed sync dropped too.
                state.files[id].bytes.clear();
                state.files[id].dropped.clear();
                id
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => state.add_file(path)?,
            Err(e) => return Err(e),
        };
        Ok(Box::new(Handle { id, boot: state.boots, path: path.into(), disk: self.clone() }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskRead>> {
        let state = self.0.lock();
        state.check_power()?;
        let id = state.file(path)?;
        let handle = Handle { id, boot: state.boots, path: path.into(), disk: self.clone() };
        Ok(Box::new(ReadHandle { handle, at: 0 }))
    }

    fn open_overwrite(&self, path: &Path) -> io::Result<Box<dyn DiskOverwrite>> {
        let state = self.0.lock();
        state.check_power()?;
        let id = state.file(path)?;
        Ok(Box::new(Handle { id, boot: state.boots, path: path.into(), disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Rename, from)?;
        let id = state.file(from)?;
        state.dir(parent(to))?;
        if state.node(to).is_ok_and(|node| node == Node::Dir) {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        state.change(vec![(from.to_path_buf(), None), (to.to_path_buf(), Some(Node::File(id)))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Remove, path)?;
        state.file(path)?;
        state.change(vec![(path.to_path_buf(), None)]);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let state = self.0.lock();
        state.check_power()?;
        state.dir(dir)?;
        let inside = state.live.keys().filter(|path| parent(path) == dir);
        Ok(inside.filter_map(|path| path.file_name()).map(Into::into).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.0.lock();
        state.check_power()?;
        Ok(match state.node(path)? {
            Node::Dir => Stat { len: 0, is_dir: true },
            Node::File(id) => Stat { len: state.files[id].bytes.len() as u64, is_dir: false },
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut guard = self.begin(Op::SyncDir, dir)?;
        let state = &mut *guard;
        state.dir(dir)?;
        for change in &mut state.unsynced {
            change.dirs.retain(|d| d != dir);
        }
        for change in state.unsynced.extract_if(.., |change| change.dirs.is_empty()) {
            apply(&mut state.durable, change.entries);
        }
        Ok(())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::CreateDir, dir)?;
        if state.dir(dir).is_ok() {
            return Ok(());
        }
        state.dir(parent(dir))?;
        state.change(vec![(dir.to_path_buf(), Some(Node::Dir))]);
        Ok(())
    }
}

struct Handle {
    disk: FaultDisk,
    id: usize,
    boot: u64,
    path: PathBuf,
}

impl Handle {
    fn begin(&self, op: Op) -> io::Result<MutexGuard<'_, State>> {
        self.check(&self.disk.0.lock())?;
        self.disk.begin(op, &self.path)
    }

    /// A file of before the crash, or of a process that was killed.
    fn check(&self, state: &State) -> io::Result<()> {
        if state.boots != self.boot || state.is_off { Err(off(None)) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        match self.begin(Op::Sync) {
            Ok(mut state) => {
                state.files[self.id].sync();
                Ok(())
            }
            Err(e) => {
                let mut state = self.disk.0.lock();
                if self.check(&state).is_ok() {
                    state.files[self.id].drop_dirty();
                }
                Err(e)
            }
        }
    }
}

impl Write for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.begin(Op::Write) {
            Ok(mut state) => {
                let room = state.capacity.map_or(u64::MAX, |all| all.saturating_sub(state.used()));
                let n = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                if n == 0 && !bytes.is_empty() {
                    return Err(Fault::Full.error());
                }
                state.files[self.id].bytes.extend_from_slice(&bytes[..n]);
                Ok(n)
            }
            Err(e) => {
                // Torn: a part got there all the same. Not with EIO, so that both are seen.
                let mut guard = self.disk.0.lock();
                let state = &mut *guard;
                if state.boots == self.boot && e.raw_os_error() != Some(libc::EIO) {
                    let n = state.rng.below(bytes.len() as u64 + 1) as usize;
                    state.files[self.id].bytes.extend_from_slice(&bytes[..n]);
                }
                Err(e)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The disk's unit: each is written or not.
const SECTOR: usize = 512;

impl DiskOverwrite for Handle {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        assert!(at.is_multiple_of(4096) && bytes.len().is_multiple_of(4096), "whole blocks");
        assert_eq!(bytes.as_ptr().align_offset(4096), 0, "aligned");
        self.check(&self.disk.0.lock())?;
        let (done, mut guard) = match self.disk.begin(Op::Overwrite, &self.path) {
            Ok(state) => (Ok(()), state),
            Err(e) => (Err(e), self.disk.0.lock()),
        };
        let state = &mut *guard;
        let file = &mut state.files[self.id];
        for (i, sector) in bytes.chunks(SECTOR).enumerate() {
            if done.is_ok() || state.rng.below(2) == 0 {
                let place = at + i * SECTOR..at + i * SECTOR + sector.len();
                for content in [&mut file.bytes, &mut file.durable] {
                    content
                        .get_mut(place.clone())
                        .expect("written before, and durable")
                        .copy_from_slice(sector);
                }
            }
        }
        done
    }
}

impl DiskFile for Handle {
    fn sync_data(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut state = self.begin(Op::SetLen)?;
        let file = &mut state.files[self.id];
        file.bytes.resize(len, 0);
        file.dropped.retain_mut(|range| {
            range.end = range.end.min(len);
            range.start < range.end
        });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.0.lock();
        self.check(&state)?;
        Ok(state.files[self.id].bytes.len() as u64)
    }
}

struct ReadHandle {
    handle: Handle,
    at: u64,
}

impl Read for ReadHandle {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let state = self.handle.disk.0.lock();
        self.handle.check(&state)?;
        let bytes = &state.files[self.handle.id].bytes;
        let rest = usize::try_from(self.at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for ReadHandle {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.handle.len()?.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(disk: &FaultDisk, path: &str) -> Option<Vec<u8>> {
        disk.read(Path::new(path), 1 << 20).ok()
    }

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let (mut kept_tail, mut lost_tail, mut kept_name, mut lost_name) = (0, 0, 0, 0);
        for seed in 0..64 {
            let disk = FaultDisk::new(seed);
            let mut file = disk.create(Path::new("/a")).unwrap();
            file.write_all(b"safe").unwrap();
            file.sync_data().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            file.write_all(b"-tail").unwrap();
            disk.create(Path::new("/b")).unwrap();
            disk.crash();
            let a = text(&disk, "/a").unwrap();
            assert!(b"safe-tail".starts_with(&a) && a.len() >= 4, "{}", a.escape_ascii());
            kept_tail += u32::from(a.len() > 4);
            lost_tail += u32::from(a.len() < 9);
            *if text(&disk, "/b").is_some() { &mut kept_name } else { &mut lost_name } += 1;
            assert!(file.write_all(b"x").is_err() && file.sync_data().is_err() && file.len().is_err());
        }
        assert!([kept_tail, lost_tail, kept_name, lost_name].iter().all(|&n| n > 5));
    }

    #[test]
    fn losing_all_keeps_what_was_synced_and_no_more() {
        let disk = FaultDisk::new(1);
        disk.create_dir(Path::new("/d")).unwrap();
        let mut file = disk.create(Path::new("/d/a")).unwrap();
        file.write_all(b"xy").unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
        file.set_len(1).unwrap();
        disk.kill();
        assert_eq!((text(&disk, "/d/a"), text(&disk, "/d/b")), (None, Some(b"x".to_vec())));
        disk.crash_losing_all();
        assert!(!disk.exists(Path::new("/d")).unwrap(), "the directory itself was never synced");

        disk.create_dir(Path::new("/d")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let mut file = disk.create(Path::new("/d/a")).unwrap();
        file.write_all(b"xy").unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
        file.set_len(1).unwrap();
        disk.crash_losing_all();
        assert_eq!((text(&disk, "/d/a"), text(&disk, "/d/b")), (Some(b"xy".to_vec()), None));
    }

    #[test]
    fn a_failed_sync_loses_what_it_should_have_kept() {
        let disk = FaultDisk::new(3);
        let mut file = disk.create(Path::new("/a")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_all(b"12").unwrap();
        file.sync_data().unwrap();
        file.write_all(b"34").unwrap();
        disk.fail(Op::Sync, Fault::Io, 1);
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
        assert_eq!(text(&disk, "/a").unwrap(), b"1234");
        file.write_all(b"56").unwrap();
        file.sync_data().unwrap();
        disk.crash_losing_all();
        assert_eq!(text(&disk, "/a").unwrap(), b"12\0\x0056");
    }

    #[test]
    fn a_full_disk_takes_a_part_first() {
        let disk = FaultDisk::new(3);
        disk.set_capacity(Some(5));
        let mut file = disk.create(Path::new("/a")).unwrap();
        assert_eq!(file.write(b"abc").unwrap(), 3);
        assert_eq!(file.write(b"def").unwrap(), 2);
        assert_eq!(file.write(b"f").unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.set_len(3).unwrap();
        assert_eq!((file.write(b"xyz").unwrap(), disk.used()), (2, 5));
        disk.set_capacity(None);
        file.write_all(b"zz").unwrap();
        assert_eq!(text(&disk, "/a").unwrap(), b"abcxyzz");
    }

    #[test]
    fn the_power_fails_at_an_operation_and_stays_off() {
        let disk = FaultDisk::new(3);
        let mut file = disk.create(Path::new("/a")).unwrap();
        disk.crash_at(2);
        file.write_all(b"a").unwrap();
        assert!(file.sync_data().is_err() && disk.is_off());
        assert!(disk.stat(Path::new("/a")).is_err() && disk.create(Path::new("/b")).is_err());
        disk.crash_losing_all();
        assert_eq!(disk.list(Path::new("/")).unwrap(), [""; 0]);
        assert_eq!(disk.log().len(), 3);
    }

    #[test]
    fn one_operation_fails_or_dawdles() {
        let disk = FaultDisk::new(3);
        disk.fail_at(1, Fault::Io);
        let mut file = disk.create(Path::new("/a")).unwrap();
        assert!(file.write_all(b"a").is_err());
        file.write_all(b"b").unwrap();
        disk.slow(Op::Sync, Duration::from_millis(15));
        let start = std::time::Instant::now();
        file.sync_data().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(15));
        let mut read = disk.open_read(Path::new("/a")).unwrap();
        assert_eq!(read.seek(SeekFrom::End(-1)).unwrap(), 0);
        assert!(read.seek(SeekFrom::Current(-1)).is_err());
    }
}
