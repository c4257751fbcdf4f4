//! Files on disk while they are written and read at once, by position: no handle has a place of its own, so any number of
//! readers share one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

/// How much is read at once.
pub const PIECE: usize = 64 << 10;

/// A file on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool(Arc<File>);

impl Spool {
    /// A new file, which only we may read. What was there is gone.
    ///
    /// # Errors
    /// The file cannot be made.
    pub async fn create(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        blocking(move || {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(path).map(|file| Self(Arc::new(file)))
        })
        .await
    }

    /// A file that is there, and its size.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn open(path: &Path) -> io::Result<(Self, u64)> {
        let path = path.to_owned();
        blocking(move || {
            let file = File::open(path)?;
            // What is used last goes last out of the cache, also after a restart.
            let _ = file.set_modified(std::time::SystemTime::now());
            let size = file.metadata()?.len();
            Ok((Self(Arc::new(file)), size))
        })
        .await
    }

    /// A file without a name: it is gone when the last one who holds it is.
    ///
    /// # Errors
    /// The file cannot be made.
    pub async fn nameless(folder: &Path) -> io::Result<Self> {
        let path: PathBuf = folder.join(format!("spool-{:016x}.part", rand::random::<u64>()));
        let file = Self::create(&path).await?;
        blocking(move || std::fs::remove_file(path)).await?;
        Ok(file)
    }

    /// Writes a piece.
    ///
    /// # Errors
    /// The disk does not take it.
    pub async fn write(&self, at: u64, piece: Bytes) -> io::Result<()> {
        let file = self.0.clone();
        blocking(move || write_at(&file, at, &piece)).await
    }

    /// Reads a piece of at most [`PIECE`] bytes; empty at the end.
    ///
    /// # Errors
    /// The disk does not give it.
    pub async fn read(&self, at: u64, most: u64) -> io::Result<Bytes> {
        let file = self.0.clone();
        let most = usize::try_from(most).unwrap_or(PIECE).min(PIECE);
        blocking(move || {
            let mut piece = vec![0; most];
            let mut filled = 0;
            while filled < most {
                match read_at(&file, at + filled as u64, &mut piece[filled..])? {
                    0 => break,
                    count => filled += count,
                }
            }
            piece.truncate(filled);
            Ok(Bytes::from(piece))
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(unix)]
fn write_at(file: &File, at: u64, piece: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, piece, at)
}

#[cfg(unix)]
fn read_at(file: &File, at: u64, piece: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, piece, at)
}

#[cfg(windows)]
fn write_at(file: &File, mut at: u64, mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, piece, at)?;
        (at, piece) = (at + count as u64, &piece[count..]);
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, at: u64, piece: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, piece, at)
}
