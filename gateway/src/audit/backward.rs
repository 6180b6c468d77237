//! Reads the lines of a file from its end.
//!
//! Invariant: memory is bounded by one block and one line, however long the file or a line is.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::line::LINE_BYTES_MAX;

const BLOCK_BYTES: usize = 64 * 1024;

/// One line, without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole line.
    Line(&'a [u8]),
    /// What stands behind the last line feed: it was not finished, or not yet.
    Unfinished(&'a [u8]),
    /// A line that is longer than any record.
    Oversized,
}

/// Yields the lines of a file, last first.
#[derive(Debug)]
pub(crate) struct Backward<'a> {
    file: &'a File,
    /// Length of the part of the file that was not read yet.
    unread: u64,
    /// The bytes behind it; those from `end` on were given out.
    block: Vec<u8>,
    end: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    AtEnd,
    Between,
    AtStart,
}

impl<'a> Backward<'a> {
    /// Begins at `length`, where the file ends.
    pub(crate) const fn new(file: &'a File, length: u64) -> Self {
        Self {
            file,
            unread: length,
            block: Vec::new(),
            end: 0,
            place: Place::AtEnd,
        }
    }

    /// Returns the next line towards the start of the file.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Found<'_>>> {
        let mut unfinished = false;
        match self.place {
            Place::AtStart => return Ok(None),
            Place::Between => {}
            Place::AtEnd => {
                self.read_block()?;
                match self.block.last() {
                    None => return Ok(None),
                    Some(b'\n') => self.end -= 1,
                    Some(_) => unfinished = true,
                }
                self.place = Place::Between;
            }
        }
        let (line, oversized) = self.find_line()?;
        Ok(Some(if oversized {
            Found::Oversized
        } else if unfinished {
            Found::Unfinished(&self.block[line])
        } else {
            Found::Line(&self.block[line])
        }))
    }

    /// Finds where in the block the last line not given out lies.
    fn find_line(&mut self) -> io::Result<(Range<usize>, bool)> {
        let mut oversized = false;
        loop {
            let end = self.end;
            let feed = self.block[..end].iter().rposition(|byte| *byte == b'\n');
            oversized |= end - feed.map_or(0, |at| at + 1) > LINE_BYTES_MAX;
            if let Some(feed) = feed {
                self.end = feed;
                return Ok((feed + 1..end, oversized));
            }
            if self.unread == 0 {
                self.end = 0;
                self.place = Place::AtStart;
                return Ok((0..end, oversized));
            }
            if oversized {
                self.end = 0;
            }
            self.read_block()?;
        }
    }

    /// Puts the block before what was not given out.
    fn read_block(&mut self) -> io::Result<()> {
        let length = usize::try_from(self.unread).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        let start = self.unread - length as u64;
        let mut block = vec![0; length];
        self.file.read_exact_at(&mut block, start)?;
        block.extend_from_slice(&self.block[..self.end]);
        self.unread = start;
        self.end = block.len();
        self.block = block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{BLOCK_BYTES, Backward, Found};
    use crate::audit::line::LINE_BYTES_MAX;

    fn check(content: &str, expected: &[&str]) {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(content.as_bytes()).expect("written");
        let mut lines = Backward::new(&file, content.len() as u64);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().expect("read") {
            found.push(match line {
                Found::Line(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Found::Unfinished(bytes) => format!("…{}", String::from_utf8_lossy(bytes)),
                Found::Oversized => "oversized".to_owned(),
            });
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn odd_files_are_read_without_harm() {
        check("", &[]);
        check("\n", &[""]);
        check("\n\n", &["", ""]);
        check("a", &["…a"]);
        check("a\nb", &["…b", "a"]);
        check("\nb", &["…b", ""]);
        let long = "x".repeat(BLOCK_BYTES * 3);
        check(&format!("a\n{long}\nb\n"), &["b", "oversized", "a"]);
        check(&format!("a\n{long}"), &["oversized", "a"]);
        check(&long, &["oversized"]);
        let longest = "y".repeat(LINE_BYTES_MAX);
        check(&format!("{longest}\n"), &[&longest]);
        check(&format!("{longest}y\n"), &["oversized"]);
    }

    #[test]
    fn lines_are_given_last_first_across_blocks() {
        let lines: Vec<String> = (0..40_000).map(|number| format!("line {number}")).collect();
        let content = lines.join("\n") + "\n";
        assert!(content.len() > BLOCK_BYTES * 4);
        let expected: Vec<&str> = lines.iter().rev().map(String::as_str).collect();
        check(&content, &expected);
    }
}
