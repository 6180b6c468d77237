//! Reads the lines of a file from its start.
//!
//! Invariant: memory is bounded by one line of a record, however long a line is.

use std::io::{self, BufRead};

use super::line::LINE_BYTES_MAX;

/// How a line ended.
pub(crate) enum LineEnd {
    Feed,
    OfFile,
    /// It is longer than any record; it took so many bytes, with its feed.
    Oversized(u64),
}

/// Reads one line without its feed; of one that is longer than any record, only a beginning.
pub(crate) fn read_line(
    reader: &mut impl BufRead,
    line: &mut Vec<u8>,
) -> io::Result<Option<LineEnd>> {
    line.clear();
    let mut oversized = false;
    let mut bytes = 0;
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            let nothing = line.is_empty() && !oversized;
            return Ok((!nothing).then_some(LineEnd::OfFile));
        }
        let feed = block.iter().position(|byte| *byte == b'\n');
        let part = &block[..feed.unwrap_or(block.len())];
        oversized |= line.len() + part.len() > LINE_BYTES_MAX;
        if !oversized {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(feed.is_some());
        reader.consume(used);
        bytes += used as u64;
        if feed.is_some() {
            return Ok(Some(if oversized {
                LineEnd::Oversized(bytes)
            } else {
                LineEnd::Feed
            }));
        }
    }
}
