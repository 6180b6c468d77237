//! Reads the records behind a number, and then those that come.
//!
//! Invariant: whole lines alone, in the order of the files; none whose number is not larger than
//! that of the one before.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::audit::files::{self, FileName, Form, Identity, Stored};
use crate::audit::line::LINE_BYTES_MAX;
use crate::audit::tail::Tail;

/// A place in the trail.
pub(super) struct Reader {
    path: PathBuf,
    /// The last record that was given out.
    seq: u64,
    open: Option<Open>,
    line: Vec<u8>,
}

struct Open {
    name: FileName,
    identity: Identity,
    form: Form,
    lines: Box<dyn BufRead + Send>,
    /// What stands behind the last line feed.
    rest: Vec<u8>,
    /// How much was read.
    bytes: u64,
    /// There was a newer file before the end was last reached: nothing more comes in this one.
    closed: bool,
}

/// Returns the number of the last record of the trail; none if there is no record.
pub(super) fn last_seq(path: &Path) -> io::Result<Option<u64>> {
    for name in files::list(path)?.into_iter().rev() {
        let directory = File::open(path)?;
        let stored = match files::open_to_read(&directory, name) {
            Err(error) if is_gone(&error) => continue,
            other => other?,
        };
        let tail = Tail::of(stored)?;
        if tail.last_seq.is_some() {
            return Ok(tail.last_seq);
        }
    }
    Ok(None)
}

/// Returns whether an error says that there is no such file, or that it is none.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
    )
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl Reader {
    /// Begins behind a record.
    pub(super) fn behind(path: &Path, seq: u64) -> Self {
        Self {
            path: path.to_owned(),
            seq,
            open: None,
            line: Vec::new(),
        }
    }

    /// Returns the next record's line; none if there is none yet.
    pub(super) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let Some(open) = &mut self.open else {
                self.open = self.find()?;
                if self.open.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if open.next_line(&mut self.line)? {
                let numbered = serde_json::from_slice::<Numbered>(&self.line);
                if let Ok(record) = numbered
                    && record.seq > self.seq
                {
                    self.seq = record.seq;
                    return Ok(Some(&self.line));
                }
                continue;
            }
            if open.closed {
                self.open = self.behind_file(self.open.as_ref().map(|open| open.name))?;
                continue;
            }
            let names = files::list(&self.path)?;
            open.closed = names.last().is_some_and(|newest| *newest > open.name);
            if !open.closed && open.is_replaced(&self.path)? {
                self.open = None;
            }
            if !self.open.as_ref().is_none_or(|open| open.closed) {
                return Ok(None);
            }
        }
    }

    /// Opens the newest file whose first record is not behind the next one.
    fn find(&self) -> io::Result<Option<Open>> {
        let names = files::list(&self.path)?;
        let mut found = None;
        for name in names.into_iter().rev() {
            let Some(mut open) = Open::new(&self.path, name)? else {
                continue;
            };
            let mut line = Vec::new();
            let mut first = None;
            while first.is_none() && open.next_line(&mut line)? {
                // A line without a number is told by a check, and tells nothing of where to go on.
                first = serde_json::from_slice::<Numbered>(&line).ok();
            }
            let enough = first.is_some_and(|first| first.seq <= self.seq + 1);
            found = Open::new(&self.path, name)?.or(found);
            if enough {
                break;
            }
        }
        Ok(found)
    }

    fn behind_file(&self, name: Option<FileName>) -> io::Result<Option<Open>> {
        for next in files::list(&self.path)? {
            if Some(next) > name
                && let Some(open) = Open::new(&self.path, next)?
            {
                return Ok(Some(open));
            }
        }
        Ok(None)
    }
}

impl Open {
    /// Opens a file; none if it is gone or no file.
    fn new(path: &Path, name: FileName) -> io::Result<Option<Self>> {
        let directory = File::open(path)?;
        let Stored { file, form } = match files::open_to_read(&directory, name) {
            Err(error) if is_gone(&error) => return Ok(None),
            other => other?,
        };
        let (identity, _) = Identity::of(&file)?;
        let lines: Box<dyn BufRead + Send> = match form {
            // It grows, so its length now is no end.
            Form::Plain => Box::new(BufReader::with_capacity(256 * 1024, file)),
            Form::Packed => files::lines_of(form, file),
        };
        Ok(Some(Self {
            name,
            identity,
            form,
            lines,
            rest: Vec::new(),
            bytes: 0,
            closed: false,
        }))
    }

    /// Puts the next whole line into `line`; returns false at the end. What cannot be unpacked is
    /// an end too: a check tells of it.
    fn next_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let block = match self.lines.fill_buf() {
                Err(error) if self.form == Form::Packed && files::is_damage(&error) => {
                    return Ok(false);
                }
                other => other?,
            };
            if block.is_empty() {
                return Ok(false);
            }
            let feed = block.iter().position(|byte| *byte == b'\n');
            let part = &block[..feed.unwrap_or(block.len())];
            // No record is longer; the rest of such a line is let go of.
            if self.rest.len() <= LINE_BYTES_MAX {
                self.rest.extend_from_slice(part);
                self.rest.truncate(LINE_BYTES_MAX + 1);
            }
            let used = part.len() + usize::from(feed.is_some());
            self.lines.consume(used);
            self.bytes += used as u64;
            if feed.is_some() {
                line.clear();
                std::mem::swap(line, &mut self.rest);
                return Ok(true);
            }
        }
    }

    /// Returns whether another file, or none, has the name, or less is in it than was read.
    fn is_replaced(&self, path: &Path) -> io::Result<bool> {
        if self.form == Form::Packed {
            return Ok(false);
        }
        let directory = File::open(path)?;
        let named = Identity::named(&directory, self.name)?;
        Ok(named.is_none_or(|(identity, length)| identity != self.identity || length < self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    use super::Reader;

    fn add(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn record(seq: u64) -> String {
        format!("{{\"seq\":{seq}}}\n")
    }

    fn all(reader: &mut Reader) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = reader.next_line().expect("read") {
            found.push(String::from_utf8_lossy(line).into_owned());
        }
        found
    }

    #[test]
    fn records_come_in_order_once_across_files_as_they_are_written() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let at = kept.path();
        let mut reader = Reader::behind(at, 0);
        assert_eq!(all(&mut reader), [""; 0]);
        add(at, "audit-2026-02-02.jsonl", "{\"seq\":1}\nrubbish\n{\"se");
        assert_eq!(all(&mut reader), ["{\"seq\":1}"]);
        add(at, "audit-2026-02-02.jsonl", "q\":2}\n{\"seq\":2}\n");
        assert_eq!(all(&mut reader), ["{\"seq\":2}"]);
        add(at, "audit-2026-02-03.jsonl", &record(3));
        add(at, "audit-2026-02-03.1.jsonl", &record(4));
        assert_eq!(all(&mut reader), ["{\"seq\":3}", "{\"seq\":4}"]);
        let mut later = Reader::behind(at, 2);
        assert_eq!(all(&mut later), ["{\"seq\":3}", "{\"seq\":4}"]);
        fs::remove_file(at.join("audit-2026-02-03.1.jsonl")).expect("removed");
        add(at, "audit-2026-02-03.2.jsonl", &record(5));
        assert_eq!(all(&mut reader), ["{\"seq\":5}"]);
        fs::write(at.join("audit-2026-02-03.2.jsonl"), record(6)).expect("cut");
        assert_eq!(all(&mut reader), [""; 0], "as long as before");
        add(at, "audit-2026-02-03.2.jsonl", &record(7));
        assert_eq!(all(&mut reader), ["{\"seq\":7}"]);
    }
}
