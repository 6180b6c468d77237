//! The lifeline: the supervisor's standard input, whose other end the runtime holds open.
//!
//! Invariant: whatever is not a request counts as the end of the line, and the end stays the end.

use std::collections::VecDeque;
use std::io::{self, Stdin};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::request::Request;

/// Reads requests from the runtime.
#[derive(Debug)]
pub(crate) struct Lifeline {
    stdin: Stdin,
    partial: Vec<u8>,
    heard: VecDeque<Heard>,
}

/// What came over the lifeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Request(Request),
    /// The runtime has ended, or it says what nobody understands.
    End,
}

impl Lifeline {
    pub(crate) fn new(stdin: Stdin) -> Self {
        Self {
            stdin,
            partial: Vec::new(),
            heard: VecDeque::new(),
        }
    }

    /// Returns the next thing that was heard.
    pub(crate) fn next(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Reads what is there. Does not wait if the descriptor was reported as readable.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        let mut buffer = [0; LINE_BYTES_MAX];
        match rustix::io::read(&self.stdin, &mut buffer) {
            Ok(0) => self.heard.push_back(Heard::End),
            Ok(length) => self.take(&buffer[..length]),
            Err(Errno::INTR | Errno::AGAIN) => (),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.heard.push_back(understand(&self.partial));
                self.partial.clear();
            } else {
                self.partial.push(*byte);
            }
        }
        if self.partial.len() > LINE_BYTES_MAX {
            self.heard.push_back(Heard::End);
        }
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }
}

fn understand(line: &[u8]) -> Heard {
    match std::str::from_utf8(line).map(str::parse) {
        Ok(Ok(request)) => Heard::Request(request),
        Ok(Err(_)) | Err(_) => Heard::End,
    }
}

/// More than the longest request needs.
const LINE_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: &[Heard]) {
        let mut lifeline = Lifeline::new(io::stdin());
        for piece in pieces {
            lifeline.take(piece);
        }
        assert_eq!(
            std::iter::from_fn(|| lifeline.next()).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn what_is_no_request_ends_the_line() {
        check(&[b"nonsense\n"], &[Heard::End]);
        check(&[b"\xff\n"], &[Heard::End]);
        check(&[b"\n"], &[Heard::End]);
        check(&[&[b'k'; LINE_BYTES_MAX], b"ill"], &[Heard::End]);
        check(&[b"kill"], &[]);
        check(
            &[b"ki", b"ll\nthaw", b"\n"],
            &[Heard::Request(Request::Kill), Heard::Request(Request::Thaw)],
        );
    }
}
