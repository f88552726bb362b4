//! Rescue: a server whose store is damaged still answers.
//!
//! What a damaged store held is not known, and nobody but its operator may decide what becomes of it. Until then the
//! server runs on [`Damaged`] in its place: every gate is unknown and says why, no source is read, and nothing is
//! written but freezes, which go into the reserve. When another file is put in the store's place and that one is sound,
//! the server starts again from it.
//!
//! - The damaged file is not touched: not moved, not made anew, not repaired.
//! - A file that has just been put there may still be being written. It is looked at only when it has stopped changing.
//! - When the file is gone, the server does not begin anew by itself: a backup may be on its way.
//! - Only damage is met like this. A store of a newer version, one in use, or one that may not be written, is refused.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::renamed;
use crate::engine::Engine;
use crate::spec::Catalog;
use crate::store::{Claim, Damaged, LaterDurations, Loaded, Redb, Reserve, Reserved, Store, StoreError, look_at_file};
use crate::time::Timestamp;

/// How often another file is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What a server begins with.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) engine: Engine,
    pub(super) loaded: Loaded,
    /// What the engine takes over when it is at work.
    pub(super) durations: LaterDurations,
    /// When the store is damaged.
    pub(super) lost: Option<Lost>,
}

/// That the store is damaged.
pub(super) struct Lost {
    /// What is wrong, and what is to be done.
    pub(super) why: String,
    path: PathBuf,
    claim: Claim,
    /// The file that is damaged.
    file: Option<Seen>,
}

/// What tells one file, and one state of a file, from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

/// Opens the store at `path` with its reserve, and restores the engine; or does without what it held when it is
/// damaged.
///
/// # Errors
/// When it cannot be used for any other reason.
pub(super) fn open(catalog: &Arc<Catalog>, path: &Path, now: Timestamp) -> Result<Opened, StoreError> {
    let claim = Claim::on(path)?;
    let file = Seen::at(path);
    match open_sound(catalog, path, &claim, now) {
        Err(StoreError::Corrupt { path: named, detail }) if named == path => {
            let damaged = Damaged::new(named, detail, claim.clone());
            let why = damaged.error().to_string();
            tracing::error!("{why}");
            tracing::error!("serving without it: every gate is unknown, and no source is read");
            let store = Arc::new(Reserved::over(Arc::new(damaged), Reserve::beside(path, &claim)?)?);
            let lost = Lost { why, path: path.to_owned(), claim, file };
            Ok(Opened { lost: Some(lost), ..restored(catalog, store, now)? })
        }
        opened => opened,
    }
}

fn open_sound(catalog: &Arc<Catalog>, path: &Path, claim: &Claim, now: Timestamp) -> Result<Opened, StoreError> {
    let store = Arc::new(Redb::open_claimed(path, claim)?);
    restored(catalog, Arc::new(Reserved::over(store, Reserve::beside(path, claim)?)?), now)
}

fn restored(catalog: &Arc<Catalog>, store: Arc<dyn Store>, now: Timestamp) -> Result<Opened, StoreError> {
    let (engine, loaded, durations) = renamed::restored(&*store, catalog, now)?;
    Ok(Opened { store, engine, loaded, durations, lost: None })
}

impl Lost {
    /// Waits until there is a sound store in the place of the damaged one.
    pub(super) async fn found(self) {
        let (mut refused, mut last) = (self.file, self.file);
        loop {
            tokio::time::sleep(LOOK).await;
            let seen = Seen::at(&self.path);
            let is_settled = seen == std::mem::replace(&mut last, seen);
            if !is_settled || seen == refused || seen.is_none() {
                continue;
            }
            refused = seen;
            let (path, claim) = (self.path.clone(), self.claim.clone());
            match tokio::task::spawn_blocking(move || look_at_file(&path, &claim)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::error!("{error}"),
                // It ends with the program only.
                Err(_) => {}
            }
        }
    }
}

impl Seen {
    fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { inode: metadata.ino(), length: metadata.len(), changed })
    }
}
