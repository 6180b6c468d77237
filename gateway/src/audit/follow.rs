//! Reads records as they are written.
//!
//! Invariant: only whole lines are given out, each once, in the order of the files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use config::home::Home;

use super::files::{self, FileName, Form, Identity};
use super::forward::{LineEnd, read_line};
use super::{AuditError, in_directory};

/// Most lines given out at once.
const LINES_MAX: usize = 1_000;

/// A place in the trail.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    /// The file that is read, and how far it was.
    place: Option<(FileName, u64)>,
}

impl Follow {
    /// Begins behind what is written by now.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn from_now(home: &Home) -> Result<Self, AuditError> {
        let path = home.audit();
        let place = || -> io::Result<Option<(FileName, u64)>> {
            let Some(name) = files::list(&path)?.last().copied() else {
                return Ok(None);
            };
            let directory = File::open(&path)?;
            let length = Identity::named(&directory, name)?.map_or(0, |(_, length)| length);
            Ok(Some((name, length)))
        };
        let place = place().map_err(in_directory(&path))?;
        Ok(Self { path, place })
    }

    /// Returns what was written since, at most a thousand lines; none if there is nothing new.
    ///
    /// # Errors
    /// When the directory or a file cannot be read.
    pub fn next_lines(&mut self) -> Result<Vec<Vec<u8>>, AuditError> {
        self.read().map_err(in_directory(&self.path))
    }

    fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let names = files::list(&self.path)?;
        if names.is_empty() {
            return Ok(found);
        }
        let directory = File::open(&self.path)?;
        let begin = self.place.map(|(name, _)| name);
        for name in names.into_iter().filter(|name| Some(*name) >= begin) {
            let from = match self.place {
                Some((current, length)) if current == name => length,
                Some(_) | None => 0,
            };
            let to = read_from(&directory, name, from, &mut found)?;
            self.place = Some((name, to));
            if found.len() >= LINES_MAX {
                break;
            }
        }
        Ok(found)
    }
}

/// Reads whole lines behind `from`; returns how far.
fn read_from(
    directory: &File,
    name: FileName,
    from: u64,
    found: &mut Vec<Vec<u8>>,
) -> io::Result<u64> {
    let mut stored = files::open_to_read(directory, name)?;
    let (_, length) = Identity::of(&stored.file)?;
    // What was cut may have been written anew.
    let mut at = match stored.form {
        Form::Plain if length < from => 0,
        Form::Plain | Form::Packed => from,
    };
    let mut reader = match stored.form {
        Form::Plain => {
            stored.file.seek(SeekFrom::Start(at))?;
            files::lines_of(Form::Plain, stored.file.take(length - at))
        }
        Form::Packed => {
            let mut reader = stored.reader()?;
            io::copy(&mut reader.by_ref().take(at), &mut io::sink())?;
            reader
        }
    };
    let mut line = Vec::new();
    while found.len() < LINES_MAX {
        match read_line(&mut reader, &mut line)? {
            Some(LineEnd::Feed) => {
                at += line.len() as u64 + 1;
                found.push(std::mem::take(&mut line));
            }
            // A writer may be about to finish it.
            Some(LineEnd::OfFile) | None => break,
            Some(LineEnd::Oversized(bytes)) => {
                at += bytes;
                found.push(Vec::new());
            }
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use config::home::Home;

    use super::Follow;

    #[test]
    fn whole_lines_come_once_across_files() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let home = Home::new(kept.path().to_owned());
        let mut follow = Follow::from_now(&home).expect("nothing there");
        let mut next = || {
            let lines = follow.next_lines().expect("read");
            let lines = lines
                .into_iter()
                .map(|line| String::from_utf8(line).expect("text"));
            lines.collect::<Vec<_>>().join("|")
        };
        assert_eq!(next(), "");
        fs::create_dir_all(home.audit()).expect("made");
        let add = |name: &str, text: &str| {
            let path = home.audit().join(name);
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .expect("opened");
            file.write_all(text.as_bytes()).expect("written");
        };
        add("audit-2026-02-02.jsonl", "a\nb\nc");
        assert_eq!(next(), "a|b");
        assert_eq!(next(), "");
        add("audit-2026-02-02.jsonl", "c\n");
        add("audit-2026-02-03.jsonl", "d\n");
        assert_eq!(next(), "cc|d");
        add(
            "audit-2026-02-03.jsonl",
            &format!("{}\ne\n", "x".repeat(20_000)),
        );
        assert_eq!(next(), "|e");
        fs::write(home.audit().join("audit-2026-02-03.jsonl"), "f\n").expect("cut");
        assert_eq!(next(), "f");
    }
}
