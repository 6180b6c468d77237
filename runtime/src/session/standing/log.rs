//! The log of a long-lived sandbox: two files of bounded size, of which the older one goes when the newer
//! one is full.
//!
//! Invariant: a place in the log keeps its number for as long as the sandbox is kept, whatever has gone.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use config::private;
use tokio::io::AsyncWriteExt;

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: tokio::fs::File,
    length: u64,
}

impl Log {
    /// Goes on with a log.
    pub(super) async fn open(path: PathBuf) -> io::Result<Self> {
        let (file, length) = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                let file = private::append_file(&path)?;
                let length = file.metadata()?.len();
                Ok::<_, io::Error>((file, length))
            })
            .await
            .map_err(io::Error::other)??
        };
        Ok(Self {
            path,
            file: tokio::fs::File::from_std(file),
            length,
        })
    }

    /// Adds what was written inside.
    pub(super) async fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.length >= PART_BYTES_MAX {
            self.turn_over().await?;
        }
        self.file.write_all(bytes).await?;
        self.file.flush().await?;
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Adds a line of the runtime's own.
    pub(super) async fn note(&mut self, text: &str) -> io::Result<()> {
        self.add(format!("loki: {text}\n").as_bytes()).await
    }

    async fn turn_over(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        let path = self.path.clone();
        let file = tokio::task::spawn_blocking(move || {
            let [older, start] = [older(&path), start_of(&path)];
            let gone = length(&older)?;
            let start_now = first(&start)?.saturating_add(gone);
            private::replace_file(&start, start_now.to_string().as_bytes())?;
            fs::rename(&path, &older)?;
            private::append_file(&path)
        })
        .await
        .map_err(io::Error::other)??;
        self.file = tokio::fs::File::from_std(file);
        self.length = 0;
        Ok(())
    }
}

/// A piece of a log, and the place behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) next: u64,
}

/// Reads from a place on, or if none is named the end; what has gone is left out. Blocks on the disk.
pub(super) fn read(path: &Path, after: Option<u64>) -> io::Result<Piece> {
    let older = older(path);
    let start = first(&start_of(path))?;
    let (before, now) = (length(&older)?, length(path)?);
    let end = start.saturating_add(before).saturating_add(now);
    let from = after.unwrap_or_else(|| end.saturating_sub(PIECE_BYTES_MAX));
    let from = from.clamp(start, end);
    let mut bytes = Vec::new();
    for (path, begin) in [
        (older.as_path(), start),
        (path, start.saturating_add(before)),
    ] {
        let left = PIECE_BYTES_MAX.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let at = from.max(begin) - begin;
        match File::open(path) {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(at))?;
                file.take(left).read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
    }
    let next = from.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    Ok(Piece {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        next,
    })
}

fn length(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Reads the number of the first place that is still there.
fn first(path: &Path) -> io::Result<u64> {
    match fs::read_to_string(path) {
        Ok(text) => text.parse().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn start_of(path: &Path) -> PathBuf {
    path.with_extension("log.start")
}

const PART_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// The longest piece that is read at once.
const PIECE_BYTES_MAX: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::{Log, PART_BYTES_MAX, PIECE_BYTES_MAX, Piece, older, read};

    #[tokio::test]
    async fn the_log_is_bounded_and_places_keep_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sandbox.log");
        let mut log = Log::open(path.clone()).await.unwrap();
        let line = [b'x'; 64 * 1024];
        let mut written = 0;
        while written < 5 * PART_BYTES_MAX {
            log.add(&line).await.unwrap();
            written += 64 * 1024;
        }
        log.note("the last line").await.unwrap();
        let kept = std::fs::metadata(&path).unwrap().len()
            + std::fs::metadata(older(&path)).unwrap().len();
        assert!(kept <= 2 * (PART_BYTES_MAX + 64 * 1024), "{kept}");

        let end = written + 20;
        let behind = read(&path, Some(written)).unwrap();
        let text = "loki: the last line\n".to_owned();
        assert_eq!(behind, Piece { text, next: end });
        let nothing = read(&path, Some(end + 7)).unwrap();
        assert_eq!((nothing.text.as_str(), nothing.next), ("", end));
        let first = read(&path, Some(0)).unwrap();
        assert_eq!(first.text.len() as u64, PIECE_BYTES_MAX);
        assert_eq!(first.next, end - kept + PIECE_BYTES_MAX);
        let last = read(&path, None).unwrap();
        assert!(last.text.ends_with("loki: the last line\n"));
        assert_eq!(last.next, end);
    }
}
