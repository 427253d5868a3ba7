//! The incremental file that is being written, and the steps of a rewrite.
//!
//! A rewrite is: [`Writer::rotate`] at the snapshot's cut, so that what happens after it goes to a file of its own; the base
//! written to [`Layout::temp_base`](super::Layout::temp_base) and synced; [`Writer::adopt_base`]; [`Writer::remove_history`]. Should
//! it fail, the files that there are go on being the truth, one more than before.
//!
//! What holds after a crash between any two operations: everything before the last [`Writer::sync`] that succeeded is read
//! back, in order, and of what was appended after it a beginning.
//!
//! - A failed write is undone: the file is cut to the last good length, and the same bytes may be tried again.
//! - After a failed sync nobody knows what is on disk. The writer is [`Health::Failed`]: it takes nothing more and vouches for
//!   nothing, until a rewrite made a new base. The incremental file that `rotate` opens is then *pending*, known to no
//!   manifest, because the one before it may have a hole and only the last file may; `adopt_base` makes both known at once.
//! - The same pending file serves a server that switches its AOF on while it runs.
use super::layout::BaseFormat;
use super::manifest::Manifest;
use super::store::{Sizes, Store, StoreError};
use super::sync_log::SyncLog;
use crate::base::disk::DiskFile;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};

pub struct Writer {
    store: Store,
    file: Box<dyn DiskFile>,
    name: OsString,
    /// Bytes in the file that are whole appends.
    len: u64,
    /// Of those, the ones that are known to be on disk, in the file or in the sync log.
    synced: u64,
    /// Of those, the ones that are known to be on disk in the file itself.
    in_file: u64,
    log: Log,
    /// The file may be longer than `len`.
    is_torn: bool,
    /// The file is no manifest's.
    is_pending: bool,
    trouble: Trouble,
    /// Bytes of all files but the current one.
    before: u64,
    base_bytes: u64,
}

/// The sync log. While there is one, its buffer holds the bytes from `synced` to `len`.
enum Log {
    Off,
    On(SyncLog),
    /// Something failed: with the next file it is tried again.
    Broken,
}

impl Log {
    fn on(&mut self) -> Option<&mut SyncLog> {
        match self {
            Log::On(log) => Some(log),
            _ => None,
        }
    }
}

/// What the writer can be relied on for. Whenever it is not `Good`, writes should be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health<'a> {
    Good,
    /// The last write or manifest failed, and was undone. The next success mends it.
    Failing(&'a str),
    /// A sync failed, and only a rewrite mends it: a new one must be begun.
    Failed(&'a str),
    /// As `Failed`, and the rewrite that mends it has been begun.
    Recovering(&'a str),
}

#[derive(Default)]
struct Trouble {
    write: Option<String>,
    manifest: Option<String>,
    failed: Option<String>,
    recovering: Option<String>,
}

/// Where a rewrite's base ends: everything in the incremental files from here on comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Cut(Option<u64>);

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Nothing of the bytes was written, or it was undone.
    #[error("Error writing to the AOF file: {0}")]
    Write(io::Error),
    /// A part of the bytes was written and could not be undone yet; the next append sees to it first.
    #[error("Short write while writing to the AOF file, and it could not be undone ({undo}): {source}")]
    Torn { source: io::Error, undo: io::Error },
    #[error("Fail to fsync the AOF file: {0}")]
    Sync(io::Error),
    /// [`Health::Failed`]: only a rewrite helps.
    #[error("The AOF file can't be relied on until it is rewritten: {0}")]
    Failed(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The base belongs to another series of files than the one being written.
    #[error("The rewritten AOF base file is out of date")]
    OutOfDate,
}

impl Writer {
    /// Goes on with the last incremental file, or begins the first one. What is in the files becomes durable here.
    pub fn open(mut store: Store) -> Result<Writer, WriteError> {
        store.create_dir()?;
        store.settle()?;
        let last = store.manifest().incr().last().map(|entry| entry.name.clone());
        let (file, name) = match last {
            Some(name) => {
                let path = store.layout().path(&name);
                let file = store.disk().open_append(&path).and_then(|mut file| {
                    file.sync_data()?;
                    store.disk().sync_dir(store.layout().dir())?;
                    Ok(file)
                });
                tracing::info!("Opening AOF incr file {} on server start", name.display());
                (file.map_err(|e| cannot_open(&name, e))?, name)
            }
            None => {
                let (file, name) = next_incr(&mut store)?;
                tracing::info!("Creating AOF incr file {} on server start", name.display());
                (file, name)
            }
        };
        let len = file.len().map_err(|e| cannot_open(&name, e))?;
        let Sizes { base, total } = store.sizes()?;
        Ok(Writer {
            store,
            file,
            name,
            len,
            synced: len,
            in_file: len,
            log: Log::Off,
            is_torn: false,
            is_pending: false,
            trouble: Trouble::default(),
            before: total.saturating_sub(len),
            base_bytes: base,
        })
    }

    /// Begins while the server runs: until the first rewrite is adopted nothing that is written counts, and the files of an
    /// earlier time stay the truth. The cut is where the file begins.
    pub fn open_pending(mut store: Store) -> Result<(Writer, Cut), WriteError> {
        store.create_dir()?;
        store.settle()?;
        let (file, name) = pending_incr(&store)?;
        let writer = Writer {
            store,
            file,
            name,
            len: 0,
            synced: 0,
            in_file: 0,
            log: Log::Off,
            is_torn: false,
            is_pending: true,
            trouble: Trouble::default(),
            before: 0,
            base_bytes: 0,
        };
        Ok((writer, Cut(None)))
    }

    /// Appends all of the bytes or, with an error, none: then the same bytes must come again, or a rewrite be begun, or
    /// there would be a gap.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.ready()?;
        self.undo_torn_write()?;
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                if let Some(log) = self.log.on() {
                    log.push(bytes);
                }
                mend(&mut self.trouble.write);
                Ok(())
            }
            Err(source) => {
                self.is_torn = true;
                self.trouble.write = Some(format!("write: {source}"));
                match self.file.set_len(self.len) {
                    Ok(()) => {
                        self.is_torn = false;
                        Err(WriteError::Write(source))
                    }
                    Err(undo) => Err(WriteError::Torn { source, undo }),
                }
            }
        }
    }

    /// Has [`Writer::sync`] use a sync log of `bytes`, or none; see [`super::sync_log`]. Cheap when nothing changes. Without
    /// a base and in trouble all stays as it is; when the log cannot be made, there is none, and all is as well without it.
    pub fn use_sync_log(&mut self, bytes: Option<usize>) -> Result<(), WriteError> {
        if self.is_pending || self.health() != Health::Good {
            return Ok(());
        }
        match (&self.log, bytes) {
            (Log::Off, Some(bytes)) => {
                self.sync_file()?;
                let path = self.store.layout().sync_log();
                self.log = match SyncLog::create(&**self.store.disk(), &path, bytes, &self.name) {
                    Ok(log) => Log::On(log),
                    Err(e) => {
                        tracing::warn!(
                            "Can't make the sync log {}: {e}; syncing the file instead",
                            path.display()
                        );
                        Log::Broken
                    }
                };
            }
            (Log::Broken, None) => self.log = Log::Off,
            (Log::On(_), None) => {
                self.sync_file()?;
                self.drop_log();
            }
            (Log::Off, None) | (Log::On(_) | Log::Broken, Some(_)) => {}
        }
        Ok(())
    }

    /// Makes everything appended so far durable; see [`Writer::is_pending`]. Cheap when it is already.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.ready()?;
        if self.synced == self.len {
            return Ok(());
        }
        if let Some(log) = self.log.on().filter(|_| !self.is_pending) {
            match log.commit(self.synced) {
                Ok(true) => {
                    self.synced = self.len;
                    return Ok(());
                }
                Ok(false) => {}
                Err(e) => {
                    tracing::warn!("Can't write to the sync log: {e}; syncing the file instead");
                    // Whatever the log holds stays true. Once the file has it all the log is not needed.
                    self.sync_file()?;
                    self.drop_log();
                    self.log = Log::Broken;
                    return Ok(());
                }
            }
        }
        self.sync_file()
    }

    /// Makes everything appended so far durable in the file itself, whatever the sync log has.
    pub fn sync_file(&mut self) -> Result<(), WriteError> {
        self.ready()?;
        if self.in_file == self.len {
            return Ok(());
        }
        match self.file.sync_data() {
            Ok(()) => {
                (self.synced, self.in_file) = (self.len, self.len);
                if let Some(log) = self.log.on() {
                    log.restart();
                }
                Ok(())
            }
            Err(e) => {
                self.trouble.failed = Some(format!("fsync: {e}"));
                Err(WriteError::Sync(e))
            }
        }
    }

    /// Begins a new incremental file; everything before the rewrite's cut should have been appended. After an error the old
    /// one goes on.
    pub fn rotate(&mut self) -> Result<Cut, WriteError> {
        // Only the last file may end in the middle of something, so the one before must be whole and durable first.
        let is_whole = !self.is_pending
            && self.trouble.failed.is_none()
            && self.trouble.write.is_none()
            && self.undo_torn_write().is_ok()
            && self.sync_file().is_ok();
        if !is_whole && !self.is_pending {
            // Should the server die before the rewrite is done, what there is will be loaded up to where it is whole.
            tracing::warn!(
                "The AOF file {} may not be whole. What is written from now on counts only once the rewrite is done.",
                self.name.display()
            );
        }
        let (file, name, cut) = if is_whole {
            let (file, name) = next_incr(&mut self.store)?;
            let seq = self.store.manifest().incr().last().map(|entry| entry.seq);
            (file, name, Cut(seq))
        } else {
            self.store.settle()?;
            let (file, name) = pending_incr(&self.store)?;
            (file, name, Cut(None))
        };
        tracing::info!("Creating AOF incr file {} on background rewrite", name.display());
        if !self.is_pending {
            self.before += self.len;
        }
        (self.file, self.name) = (file, name);
        (self.len, self.synced, self.in_file) = (0, 0, 0);
        match &mut self.log {
            // What it holds on disk stays there until the new file counts: the old one may not be whole without it.
            Log::On(log) => {
                log.restart();
                log.turn_to(&self.name);
            }
            log => *log = Log::Off,
        }
        (self.is_torn, self.is_pending) = (false, !is_whole);
        let Trouble { write, manifest, failed, recovering } = std::mem::take(&mut self.trouble);
        if !is_whole {
            // One that was switched on a moment ago and had no trouble has none now.
            self.trouble.recovering = failed.or(recovering).or(write).or(manifest);
        }
        Ok(cut)
    }

    /// The base that was written to `temp_base`, and synced, becomes the truth up to `cut`, where [`Writer::rotate`] was
    /// when it was begun. After an error the files are as before, and the temporary one may be gone.
    pub fn adopt_base(&mut self, cut: Cut, format: BaseFormat) -> Result<(), WriteError> {
        match cut {
            Cut(None) if !self.is_pending => return Err(WriteError::OutOfDate),
            Cut(Some(_)) if self.is_pending => return Err(WriteError::OutOfDate),
            Cut(Some(seq)) if !self.store.manifest().incr().iter().any(|entry| entry.seq == seq) => {
                return Err(WriteError::OutOfDate);
            }
            Cut(_) => {}
        }
        let temp = self.store.layout().temp_incr();
        let adopted = self.store.adopt(format, |manifest, store| {
            let Cut(Some(seq)) = cut else {
                manifest.retire_all();
                let name = manifest.next_incr(store.layout()).name.clone();
                // A second name would do as well, but is not to be had everywhere.
                let moved = store.disk().rename(&temp, &store.layout().path(&name));
                let moved = moved.and_then(|()| store.disk().sync_dir(store.layout().dir()));
                return moved
                    .map_err(|e| StoreError::io("Error trying to rename the temporary AOF incr file", e));
            };
            manifest.retire_before(seq);
            Ok(())
        });
        match adopted {
            Ok(()) => {
                if let Some(last) = self.store.manifest().incr().last() {
                    self.name.clone_from(&last.name);
                }
                self.is_pending = false;
                self.trouble.recovering = None;
                if let Some(log) = self.log.on() {
                    log.turn_to(&self.name);
                }
                // For statistics only.
                if let Ok(Sizes { base, total }) = self.store.sizes() {
                    (self.base_bytes, self.before) = (base, total.saturating_sub(self.len));
                }
                Ok(())
            }
            Err(e) => {
                if self.is_pending {
                    // The pending file may have another name by now, or none: another rewrite begins anew.
                    self.trouble.failed.get_or_insert(e.to_string());
                } else if self.store.is_unsettled() {
                    self.trouble.manifest.get_or_insert(e.to_string());
                }
                Err(e.into())
            }
        }
    }

    /// See [`Store::remove_history`].
    pub fn remove_history(&mut self) -> Result<(), WriteError> {
        self.store.remove_history()?;
        Ok(())
    }

    /// A rewrite came to nothing: removes its temporary file.
    pub fn abandon_base(&mut self) {
        let temp = self.store.layout().temp_base();
        self.store.remove_if_there(&temp);
    }

    /// Syncs and ends; the store can be opened again. With an error the last of what was appended may not be durable.
    pub fn close(mut self) -> (Store, Result<(), WriteError>) {
        let synced = self.undo_torn_write().and_then(|()| self.sync_file());
        if synced.is_ok() && !self.is_pending {
            self.drop_log();
        }
        if self.is_pending {
            tracing::info!("Removing the temp incr aof file {} in the background", self.name.display());
            let temp = self.store.layout().temp_incr();
            self.store.remove_if_there(&temp);
        }
        (self.store, synced)
    }

    pub fn health(&self) -> Health<'_> {
        let Trouble { write, manifest, failed, recovering } = &self.trouble;
        match (failed, recovering, write.as_ref().or(manifest.as_ref())) {
            (Some(why), _, _) => Health::Failed(why),
            (_, Some(why), _) => Health::Recovering(why),
            (_, _, Some(why)) => Health::Failing(why),
            _ => Health::Good,
        }
    }

    /// What is synced here is found after a crash only once the rewrite that runs is adopted.
    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Bytes appended to the current file.
    pub fn incr_bytes(&self) -> u64 {
        self.len
    }

    /// Bytes appended to the current file that wait for a sync.
    pub fn unsynced_bytes(&self) -> u64 {
        self.len - self.synced
    }

    /// Bytes appended to the current file that only the sync log has on disk, or nothing yet.
    pub fn file_lag_bytes(&self) -> u64 {
        self.len - self.in_file
    }

    /// INFO's `aof_current_size`.
    pub fn total_bytes(&self) -> u64 {
        self.before + self.len
    }

    /// Bytes of the base.
    pub fn base_bytes(&self) -> u64 {
        self.base_bytes
    }

    /// The current file's name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    pub fn manifest(&self) -> &Manifest {
        self.store.manifest()
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Nothing is appended or vouched for unless it would count.
    fn ready(&mut self) -> Result<(), WriteError> {
        match &self.trouble.failed {
            Some(why) => Err(WriteError::Failed(why.clone())),
            None => self.settle(),
        }
    }

    /// A manifest on disk that is ahead of the one in memory names a file behind this one, which then must not have an
    /// unfinished end: nothing is written before that is settled.
    fn settle(&mut self) -> Result<(), WriteError> {
        if self.store.is_unsettled() {
            if let Err(e) = self.store.settle() {
                self.trouble.manifest = Some(e.to_string());
                return Err(e.into());
            }
            mend(&mut self.trouble.manifest);
        }
        Ok(())
    }

    /// The file has everything.
    fn drop_log(&mut self) {
        if let Log::On(log) = std::mem::replace(&mut self.log, Log::Off) {
            self.store.remove_if_there(log.path());
        }
    }

    fn undo_torn_write(&mut self) -> Result<(), WriteError> {
        if self.is_torn {
            self.file.set_len(self.len).map_err(WriteError::Write)?;
            self.is_torn = false;
        }
        Ok(())
    }
}

/// Trouble is over.
fn mend(trouble: &mut Option<String>) {
    if let Some(why) = trouble.take() {
        tracing::warn!("AOF write error looks solved, the server can write again. It was: {why}");
    }
}

/// A new incremental file, durable and in the manifest.
fn next_incr(store: &mut Store) -> Result<(Box<dyn DiskFile>, OsString), WriteError> {
    store.settle()?;
    let mut manifest = store.manifest().clone();
    let name = manifest.next_incr(store.layout()).name.clone();
    let path = store.layout().path(&name);
    // One of that name is the remains of a rotation that was never finished.
    store
        .disk()
        .create(&path)
        .map_err(|e| cannot_open(&name, e))?
        .sync_all()
        .map_err(|e| cannot_open(&name, e))?;
    store.disk().sync_dir(store.layout().dir()).map_err(|e| cannot_open(&name, e))?;
    let file = store.disk().open_append(&path).map_err(|e| cannot_open(&name, e))?;
    store.install(manifest)?;
    Ok((file, name))
}

fn pending_incr(store: &Store) -> Result<(Box<dyn DiskFile>, OsString), WriteError> {
    let (path, name) = (store.layout().temp_incr(), store.layout().temp_incr_name());
    // Never one that was written to before: syncs that failed there would be unknown here.
    store.remove_if_there(&path);
    let file = store.disk().open_append(&path).map_err(|e| cannot_open(&name, e))?;
    Ok((file, name))
}

fn cannot_open(name: &OsStr, e: io::Error) -> WriteError {
    StoreError::io(format!("Can't open the append-only file {}", name.display()), e).into()
}

/// The annotation that `aof-timestamp-enabled` puts between commands.
pub fn push_timestamp(out: &mut Vec<u8>, unix_s: u64) {
    let _ = write!(out, "#TS:{unix_s}\r\n");
}
