//! What the end of an audit file tells to whoever goes on with it.

use std::fs::File;
use std::io;

use serde::Deserialize;

use super::backward::{Backward, Found};
use super::chain::{Digest, OVERSIZED, digest};
use super::files::{Form, Identity, Stored};
use super::forward::{LineEnd, read_line};

/// The end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The number of the last record; none if there is no record at all.
    pub(crate) last_seq: Option<u64>,
    /// The last line was not ended.
    pub(crate) torn: bool,
    /// SHA-256 of the last line, whatever it is; none if the file is empty.
    pub(crate) digest: Option<Digest>,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl Tail {
    /// Reads the end of a file in whichever form it is kept.
    pub(crate) fn of(stored: Stored) -> io::Result<Self> {
        match stored.form {
            Form::Plain => {
                let (_, length) = Identity::of(&stored.file)?;
                Self::read(&stored.file, length)
            }
            Form::Packed => Self::read_forward(stored),
        }
    }

    /// Reads a packed file, which has to be read from its start.
    fn read_forward(stored: Stored) -> io::Result<Self> {
        let mut tail = Self {
            last_seq: None,
            torn: false,
            digest: None,
        };
        let mut reader = stored.reader()?;
        let mut line = Vec::new();
        while let Some(end) = read_line(&mut reader, &mut line)? {
            tail.torn = matches!(end, LineEnd::OfFile);
            tail.digest = Some(match end {
                LineEnd::Oversized(_) => OVERSIZED,
                LineEnd::Feed | LineEnd::OfFile => digest(&line),
            });
            if let Ok(record) = serde_json::from_slice::<Numbered>(&line) {
                tail.last_seq = Some(record.seq);
            }
        }
        Ok(tail)
    }

    /// Reads the end of a file of `length` bytes.
    pub(crate) fn read(file: &File, length: u64) -> io::Result<Self> {
        let mut lines = Backward::new(file, length);
        let mut tail = Self {
            last_seq: None,
            torn: false,
            digest: None,
        };
        let mut last = true;
        while let Some(line) = lines.next_line()? {
            let bytes = match line {
                Found::Line(bytes) => bytes,
                Found::Unfinished(bytes) => {
                    tail.torn = true;
                    bytes
                }
                Found::Oversized => {
                    tail.torn |= last && !ends_with_feed(file, length)?;
                    tail.digest.get_or_insert(OVERSIZED);
                    &[]
                }
            };
            tail.digest.get_or_insert_with(|| digest(bytes));
            last = false;
            // A record that only lacks its line feed counts as soon as it gets one.
            if let Ok(record) = serde_json::from_slice::<Numbered>(bytes) {
                tail.last_seq = Some(record.seq);
                break;
            }
        }
        Ok(tail)
    }
}

fn ends_with_feed(file: &File, length: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;

    let mut byte = [0];
    file.read_exact_at(&mut byte, length.saturating_sub(1))?;
    Ok(byte == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Tail;

    fn check(content: &str, last_seq: Option<u64>, torn: bool) {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(content.as_bytes()).expect("written");
        let tail = Tail::read(&file, content.len() as u64).expect("read");
        assert_eq!((tail.last_seq, tail.torn), (last_seq, torn), "{content:?}");
    }

    #[test]
    fn a_torn_end_is_noticed_and_the_last_whole_record_counts() {
        check("{\"seq\":1}\n{\"seq\":2,\"act", Some(1), true);
        check("{\"seq\":1}\n{\"seq\":2}", Some(2), true);
        check("{\"seq\":1}\nrubbish\n", Some(1), false);
        check("{\"seq\":-1}\n", None, false);
        check("\n\n", None, false);
        check(&"x".repeat(100_000), None, true);
        check(
            &format!("{{\"seq\":7}}\n{}\n", "x".repeat(100_000)),
            Some(7),
            false,
        );
    }

    #[test]
    fn a_whole_file_ends_with_its_last_record() {
        check("", None, false);
        check("{\"seq\":1}\n{\"seq\":2}\n", Some(2), false);
    }
}
