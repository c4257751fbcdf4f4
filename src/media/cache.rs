//! Files of networks on disk: each is fetched once however many read it, its readers follow it while it grows, and what was
//! read longest ago goes when there is too much. A file is there under its name when it is whole; what a crash left half is
//! removed at the next start.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use portway_bridges::api::{Content, Failure, Stop};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::spool::{PIECE, Spool};
use crate::observe::Metrics;
use crate::observe::metrics::MediaOutcome;

/// How many files are fetched at once at most.
const FETCHES: usize = 8;

/// How long a reader waits for its file's turn.
const TURN: Duration = Duration::from_secs(30);

/// How long a network may take to begin.
const BEGIN: Duration = Duration::from_secs(60);

/// How long it may be silent in between.
const SILENCE: Duration = Duration::from_secs(30);

/// How long one file may take in all.
const WHOLE: Duration = Duration::from_secs(3600);

/// What the end of the name of an unfinished file is.
const UNFINISHED: &str = "part";

/// The name of a file in the cache: nothing can be read out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The name of the file that a network has there.
    #[must_use]
    pub fn new(network: &str, source: &str) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(network.as_bytes());
        context.update(b"\0");
        context.update(source.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Self(key)
    }

    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (n, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
        }
        Some(Self(key))
    }
}

/// Why there is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoFile {
    /// The network has it no more.
    #[error("it is gone")]
    Gone,
    /// It is larger than what is served.
    #[error("it is too large")]
    TooLarge,
    /// The network does not give it now.
    #[error("it cannot be had now")]
    Unreachable,
    /// Too many files are being fetched.
    #[error("too many are being fetched")]
    Busy,
}

/// How far the fetch of a file has come.
#[derive(Debug, Clone)]
enum Progress {
    /// Nothing is known yet.
    Asked,
    /// Bytes come: how many there are, and how many there will be, where the network says.
    Growing(Spool, u64, Option<u64>),
    /// All of it is there.
    Whole(Spool, u64),
    /// There is none.
    Failed(NoFile),
}

/// The files. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    quota: u64,
    largest: u64,
    state: Mutex<State>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: Stop,
    metrics: Metrics,
}

#[derive(Default)]
struct State {
    whole: HashMap<Key, Kept>,
    bytes: u64,
    uses: u64,
    running: HashMap<Key, watch::Receiver<Progress>>,
}

struct Kept {
    size: u64,
    used: u64,
}

impl State {
    fn used(&mut self, key: Key, size: u64) {
        self.uses += 1;
        let used = self.uses;
        if let Some(before) = self.whole.insert(key, Kept { size, used }) {
            self.bytes -= before.size;
        }
        self.bytes += size;
    }

    fn forget(&mut self, key: Key) {
        if let Some(kept) = self.whole.remove(&key) {
            self.bytes -= kept.size;
        }
    }
}

impl Cache {
    /// Looks at what an earlier run has left: `folder` is made where it is not there, unfinished files are removed, and what is
    /// over `quota` bytes. Files over `largest` bytes are not kept and not given out.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: &Path, quota: u64, largest: u64, metrics: Metrics, stop: Stop) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(UNFINISHED) {
                std::fs::remove_file(entry.path())?;
            } else if let Some(key) = Key::from_hex(&name) {
                let metadata = entry.metadata()?;
                found.push((metadata.modified().ok(), key, metadata.len()));
            }
        }
        found.sort_by_key(|(modified, ..)| *modified);
        let mut state = State::default();
        for (_, key, size) in found {
            state.used(key, size);
        }
        let inner = Inner {
            folder: folder.to_owned(),
            quota,
            largest,
            state: Mutex::new(state),
            turns: Arc::new(Semaphore::new(FETCHES)),
            tasks: TaskTracker::new(),
            stop,
            metrics,
        };
        let cache = Self(Arc::new(inner));
        cache.make_room(0);
        Ok(cache)
    }

    /// A file, from the disk or from where `open` finds it. Returns when its bytes begin to come.
    ///
    /// # Errors
    /// [`NoFile`].
    pub async fn read<F>(&self, key: Key, open: F) -> Result<Reader, NoFile>
    where
        F: FnOnce() -> BoxFuture<'static, Result<Content, Failure>> + Send + 'static,
    {
        let known = self.state().whole.contains_key(&key);
        if known {
            if let Ok((file, size)) = Spool::open(&self.path(key)).await {
                self.state().used(key, size);
                self.0.metrics.media(MediaOutcome::Hit);
                return Ok(Reader { progress: None, known: Progress::Whole(file, size) });
            }
            // Somebody has removed it.
            self.state().forget(key);
        }
        let mut progress = self.join(key, open);
        let begun = progress.wait_for(|progress| !matches!(progress, Progress::Asked)).await;
        let known = begun.map(|known| known.clone()).unwrap_or(Progress::Failed(NoFile::Unreachable));
        match known {
            Progress::Failed(why) => Err(why),
            known => Ok(Reader { progress: Some(progress), known }),
        }
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Waits for what is being fetched to stop; the stop signal is given before.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: Key) -> PathBuf {
        self.0.folder.join(key.hex())
    }

    /// The fetch of a file that runs, or a new one.
    fn join<F>(&self, key: Key, open: F) -> watch::Receiver<Progress>
    where
        F: FnOnce() -> BoxFuture<'static, Result<Content, Failure>> + Send + 'static,
    {
        let mut state = self.state();
        if let Some(running) = state.running.get(&key) {
            return running.clone();
        }
        let (sender, receiver) = watch::channel(Progress::Asked);
        state.running.insert(key, receiver.clone());
        drop(state);
        let cache = self.clone();
        self.0.tasks.spawn(async move {
            let path = cache.path(key);
            let half = path.with_extension(UNFINISHED);
            let work = tokio::time::timeout(WHOLE, cache.fill(&sender, &half, open));
            let filled = tokio::select! {
                filled = work => filled.unwrap_or(Err(NoFile::Unreachable)),
                () = cache.0.stop.cancelled() => Err(NoFile::Unreachable),
            };
            let kept = match &filled {
                Ok((_, size)) if *size <= cache.0.quota => tokio::fs::rename(&half, &path).await.is_ok(),
                _ => false,
            };
            if !kept {
                // Whoever reads it keeps it open until they are done.
                let _ = tokio::fs::remove_file(&half).await;
            }
            {
                let mut state = cache.state();
                state.running.remove(&key);
                if let (Ok((_, size)), true) = (&filled, kept) {
                    state.used(key, *size);
                }
            }
            cache.make_room(0);
            cache.0.metrics.media(if filled.is_ok() { MediaOutcome::Fetched } else { MediaOutcome::Failed });
            sender.send_replace(match filled {
                Ok((file, size)) => Progress::Whole(file, size),
                Err(why) => Progress::Failed(why),
            });
        });
        receiver
    }

    async fn fill<F>(&self, progress: &watch::Sender<Progress>, half: &Path, open: F) -> Result<(Spool, u64), NoFile>
    where
        F: FnOnce() -> BoxFuture<'static, Result<Content, Failure>>,
    {
        let turn = tokio::time::timeout(TURN, self.0.turns.acquire()).await;
        let _turn = turn.map_err(|_| NoFile::Busy)?.map_err(|_| NoFile::Busy)?;
        let content = tokio::time::timeout(BEGIN, open()).await.map_err(|_| NoFile::Unreachable)?;
        let mut content = content.map_err(|failure| {
            debug!(%failure, "a file of a network cannot be had");
            match failure {
                Failure::Permanent { .. } => NoFile::Gone,
                Failure::Temporary { .. } => NoFile::Unreachable,
            }
        })?;
        let total = content.size;
        if total.is_some_and(|total| total > self.0.largest) {
            return Err(NoFile::TooLarge);
        }
        self.make_room(total.unwrap_or(0));
        let file = Spool::create(half).await.map_err(|error| no_disk(&error))?;
        let mut written = 0;
        progress.send_replace(Progress::Growing(file.clone(), 0, total));
        loop {
            let next = tokio::time::timeout(SILENCE, content.body.next()).await.map_err(|_| NoFile::Unreachable)?;
            let piece = match next {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => {
                    debug!(%error, "a file of a network broke off");
                    return Err(NoFile::Unreachable);
                }
                None => break,
            };
            let size = piece.len() as u64;
            if written + size > total.unwrap_or(self.0.largest) {
                return Err(if total.is_some() { NoFile::Unreachable } else { NoFile::TooLarge });
            }
            file.write(written, piece).await.map_err(|error| no_disk(&error))?;
            written += size;
            progress.send_replace(Progress::Growing(file.clone(), written, total));
        }
        if total.is_some_and(|total| total != written) {
            return Err(NoFile::Unreachable);
        }
        Ok((file, written))
    }

    /// Removes what was read longest ago until `more` bytes fit in.
    fn make_room(&self, more: u64) {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            while state.bytes > self.0.quota.saturating_sub(more.min(self.0.quota)) {
                let Some(oldest) = state.whole.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| *key) else {
                    break;
                };
                state.forget(oldest);
                gone.push(oldest);
            }
            self.0.metrics.media_bytes(state.bytes);
        }
        for key in gone {
            if let Err(error) = std::fs::remove_file(self.path(key))
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(%error, "a file of the media cache cannot be removed");
            }
        }
    }
}

fn no_disk(error: &io::Error) -> NoFile {
    warn!(%error, "the media cache cannot be written");
    NoFile::Unreachable
}

/// A file that is there or on its way.
pub struct Reader {
    progress: Option<watch::Receiver<Progress>>,
    known: Progress,
}

impl Reader {
    /// How many bytes it has, where that is known by now.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match &self.known {
            Progress::Growing(_, _, total) => *total,
            Progress::Whole(_, size) => Some(*size),
            Progress::Asked | Progress::Failed(_) => None,
        }
    }

    /// The bytes from `first` on, up to but without `end`; all of them where that is not said. Follows the file while it grows.
    #[must_use]
    pub fn bytes(self, first: u64, end: Option<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        let end = end.unwrap_or(u64::MAX);
        stream::try_unfold((self, first), move |(mut reader, at)| async move {
            loop {
                let (file, there, whole) = match &reader.known {
                    Progress::Growing(file, written, _) => (file, *written, false),
                    Progress::Whole(file, size) => (file, *size, true),
                    Progress::Asked | Progress::Failed(_) => return Err(io::Error::other("the file broke off")),
                };
                let until = there.min(end);
                if at < until {
                    let piece = file.read(at, (until - at).min(PIECE as u64)).await?;
                    if piece.is_empty() {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                    }
                    let next = at + piece.len() as u64;
                    return Ok(Some((piece, (reader, next))));
                }
                if at >= end || whole {
                    return Ok(None);
                }
                let Some(progress) = &mut reader.progress else { return Ok(None) };
                if progress.changed().await.is_err() {
                    return Err(io::Error::other("the file broke off"));
                }
                reader.known = progress.borrow_and_update().clone();
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests;
