//! The append-only directory on disk: its manifest, and the steps that change it.
//!
//! A file is durable under its name before a manifest names it, and is removed only after a manifest without it (or with it
//! as history) is durable. When a step fails so late that nobody knows which manifest a crash would leave, the one in
//! memory is *unsettled*: [`Store::settle`] installs it again, and nothing else happens before that.
use super::layout::{BaseFormat, Layout};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError};
use super::sync_log::{self, RecoverError};
use crate::base::disk::{self, Disk};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    layout: Layout,
    manifest: Manifest,
    is_unsettled: bool,
}

/// Why something could not be done with the directory. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error(
        "The sync log {log} does not fit the append-only file {file}: {source}. Remove {log} to go on with what the file holds."
    )]
    SyncLog { log: String, file: String, source: RecoverError },
}

impl StoreError {
    pub(super) fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        StoreError::Io { doing: doing.into(), source: source.into() }
    }

    /// The operating system's word, where it has one.
    pub fn source(&self) -> Option<&io::Error> {
        match self {
            StoreError::Manifest(_) | StoreError::SyncLog { .. } => None,
            StoreError::Io { source, .. } => Some(source),
        }
    }
}

impl Store {
    /// Reads the manifest; without a directory or a manifest in it there are no files yet. Changes nothing.
    pub fn load(disk: Arc<dyn Disk>, layout: Layout) -> Result<Store, StoreError> {
        let path = layout.manifest();
        let manifest = match disk.read(&path, MANIFEST_BYTES_MAX) {
            Ok(text) => Manifest::parse(&text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => without_manifest(&*disk, &layout),
            Err(e) => {
                return Err(StoreError::io(
                    format!("Can't read the AOF manifest file {}", path.display()),
                    e,
                ));
            }
        };
        Ok(Store { disk, layout, manifest, is_unsettled: false })
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Creates the directory if it is missing.
    pub fn create_dir(&self) -> Result<(), StoreError> {
        let dir = self.layout.dir();
        let created = self.disk.create_dir(dir).and_then(|()| self.disk.sync_dir(disk::parent(dir)));
        created
            .map_err(|e| StoreError::io(format!("Can't open or create append-only dir {}", dir.display()), e))
    }

    /// Takes over the single file of a Redis before 7: it becomes the base. True if that was needed. As with Redis it is when
    /// there is such a file and no manifest, or one that an interrupted taking over left. To be called before loading.
    pub fn take_over_old_style(&mut self) -> Result<bool, StoreError> {
        let (old, name) = (self.layout.old_style(), self.layout.name().to_owned());
        let new = self.layout.path(&name);
        let check = |path: &Path| {
            self.disk.exists(path).map_err(|e| StoreError::io(format!("Can't look at {}", path.display()), e))
        };
        let is_interrupted =
            self.manifest.incr().is_empty() && self.manifest.base().is_some_and(|base| base.name == name);
        if !check(&old)? || !(self.manifest.is_empty() || is_interrupted && !check(&new)?) {
            return Ok(false);
        }
        // A directory of that name is no old file.
        if new == old || self.disk.stat(&old).is_ok_and(|stat| stat.is_dir) {
            return Ok(false);
        }
        self.create_dir()?;
        let mut manifest = self.manifest.clone();
        manifest.take_over(&name);
        // The manifest first: a crash in between leaves what `is_interrupted` knows, and the file where it was.
        self.install(manifest)?;
        disk::put_in_place(&*self.disk, &old, &new).map_err(|e| {
            let what =
                format!("Error trying to move the old AOF file {} into {}", old.display(), new.display());
            StoreError::io(what, e)
        })?;
        tracing::info!(
            "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
            name.display(),
            self.layout.dir().display()
        );
        Ok(true)
    }

    /// Adds to the last incremental file what its sync log has beyond it; see [`sync_log`]. To be called before loading.
    /// One that goes on behind the file's end, as in a copy that was made while the server ran, is of no use. Afterwards there
    /// is none: the file would grow to where it no longer fits.
    pub fn recover_from_sync_log(&self) -> Result<(), StoreError> {
        let log = self.layout.sync_log();
        let Some(last) = self.manifest.incr().last() else { return Ok(()) };
        let path = self.layout.path(&last.name);
        // A file that is missing is for the loading to tell.
        if !self.disk.exists(&log).unwrap_or(true) || !self.disk.exists(&path).unwrap_or(true) {
            return Ok(());
        }
        let added = match sync_log::recover(&*self.disk, &log, &last.name, &path, true) {
            Ok(added) => added,
            Err(e @ RecoverError::Gap { .. }) => {
                tracing::warn!("The sync log {} is not used, and removed: {e}", log.display());
                0
            }
            Err(source) => {
                let (log, file) = (log.display().to_string(), last.name.display().to_string());
                return Err(StoreError::SyncLog { log, file, source });
            }
        };
        if added > 0 {
            let file = last.name.display();
            tracing::warn!(
                "{added} bytes that the append-only file {file} lacked were added to it from its sync log"
            );
        }
        self.remove_if_there(&log);
        let synced = self.disk.sync_dir(self.layout.dir());
        synced.map_err(|e| StoreError::io("Can't sync the append-only dir", e))
    }

    /// Removes what a server that died left half done. Files of other servers in the same directory stay.
    pub fn remove_temporary_files(&self) {
        for path in [self.layout.temp_manifest(), self.layout.temp_base(), self.layout.temp_incr()] {
            self.remove_if_there(&path);
        }
    }

    /// Whether it is there no more.
    pub(super) fn remove_if_there(&self, path: &Path) -> bool {
        match self.disk.remove(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("Can't remove {}: {e}", path.display());
                false
            }
            _ => true,
        }
    }

    /// Bytes of the base and the incremental files. An error if one is missing.
    pub fn sizes(&self) -> Result<Sizes, StoreError> {
        let size = |name: &OsStr| {
            let size = self.disk.size(&self.layout.path(name));
            let doing = || format!("Unable to obtain the AOF file {} length. stat", name.display());
            size.map_err(|e| StoreError::io(doing(), e))
        };
        let base = self.manifest.base().map_or(Ok(0), |base| size(&base.name))?;
        let mut total = base;
        for incr in self.manifest.incr() {
            total += size(&incr.name)?;
        }
        Ok(Sizes { base, total })
    }

    /// The base that was written to [`Layout::temp_base`], and synced, takes the place of everything: for a server that has no
    /// file open to append to. (One that has calls [`super::Writer::adopt_base`].)
    pub fn adopt_base(&mut self, format: BaseFormat) -> Result<(), StoreError> {
        self.adopt(format, |manifest, _| {
            manifest.retire_all();
            Ok(())
        })
    }

    /// Gives the base its name; `change` does what else belongs to the same step.
    pub(super) fn adopt(
        &mut self,
        format: BaseFormat,
        change: impl FnOnce(&mut Manifest, &Store) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // Else the manifest on disk might be one that already names the file which is replaced here.
        self.settle()?;
        let mut manifest = self.manifest.clone();
        let name = manifest.next_base(&self.layout, format);
        let (temp, path) = (self.layout.temp_base(), self.layout.path(&name));
        disk::put_in_place(&*self.disk, &temp, &path).map_err(|e| {
            let what = format!("Error trying to rename the temporary AOF base file into {}", path.display());
            StoreError::io(what, e)
        })?;
        change(&mut manifest, self)?;
        self.install(manifest)?;
        tracing::info!("Successfully renamed the temporary AOF base file into {}", name.display());
        Ok(())
    }

    /// Makes this the manifest, durably.
    pub(super) fn install(&mut self, manifest: Manifest) -> Result<(), StoreError> {
        let text = manifest.text();
        let (temp, path) = (self.layout.temp_manifest(), self.layout.manifest());
        match disk::install(&*self.disk, &temp, &path, |file| file.write_all(&text)) {
            Ok(()) => {
                (self.manifest, self.is_unsettled) = (manifest, false);
                Ok(())
            }
            Err(e) => {
                self.is_unsettled |= e.unsettled;
                Err(StoreError::io(format!("Can't write the AOF manifest file {}", path.display()), e))
            }
        }
    }

    /// A crash may leave another manifest than the one in memory.
    pub fn is_unsettled(&self) -> bool {
        self.is_unsettled
    }

    /// Makes sure that the manifest on disk is the one in memory, after a step that failed.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        if !self.is_unsettled {
            return Ok(());
        }
        if self.manifest.text().is_empty() {
            // None is what there was; an empty one would be refused.
            let path = self.layout.manifest();
            self.remove_if_there(&path);
            let synced = self.disk.sync_dir(self.layout.dir());
            synced.map_err(|e| StoreError::io("Can't sync the append-only dir", e))?;
            self.is_unsettled = false;
            return Ok(());
        }
        self.install(self.manifest.clone())
    }

    /// Removes the files that a rewrite made superfluous, unless `aof-disable-auto-gc` says otherwise (the caller asks).
    /// Takes as long as the file system takes to free them. A failure costs space only, and is tried again next time.
    pub fn remove_history(&mut self) -> Result<(), StoreError> {
        if self.manifest.history().is_empty() {
            return Ok(());
        }
        self.settle()?;
        let mut manifest = self.manifest.clone();
        let in_use: Vec<_> = manifest.files().map(|entry| entry.name.clone()).collect();
        manifest.retain_history(|entry| {
            let is_in_use = in_use.contains(&entry.name);
            if !is_in_use {
                tracing::info!("Removing the history file {} in the background", entry.name.display());
            }
            !is_in_use && !self.remove_if_there(&self.layout.path(&entry.name))
        });
        // Else a crash could bring back a file that no manifest knows.
        let synced = self.disk.sync_dir(self.layout.dir());
        synced.map_err(|e| StoreError::io("Can't sync the append-only dir", e))?;
        match manifest.text().is_empty() {
            true => Ok(()),
            false => self.install(manifest),
        }
    }
}

/// Nothing to load; but files that seem to have lost their manifest are not written over: numbers go on behind theirs.
fn without_manifest(disk: &dyn Disk, layout: &Layout) -> Manifest {
    let mut manifest = Manifest::default();
    for name in disk.list(layout.dir()).unwrap_or_default() {
        if let Some(numbered) = layout.numbered(&name)
            && disk.size(&layout.path(&name)).is_ok_and(|size| size > 0)
        {
            tracing::warn!("{} is not loaded: there is no AOF manifest that names it", name.display());
            manifest.go_on_behind(numbered);
        }
    }
    manifest
}

/// Bytes of the append-only files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub base: u64,
    /// The base and the incremental files.
    pub total: u64,
}
