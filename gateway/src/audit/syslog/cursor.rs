//! How far the receiver was sent the trail, also over restarts.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use config::gateway::audit::Syslog;
use config::private;
use serde::{Deserialize, Serialize};

use super::{AGAIN_BYTES, AGAIN_RECORDS};

/// How many records lie between two marks.
const MARK_RECORDS: u64 = 64;

/// The place in the trail.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    kept: Kept,
    /// What is on the disk.
    saved: Option<Kept>,
    /// Numbers of records, with how many bytes were sent up to them.
    marks: VecDeque<(u64, u64)>,
    bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Which receiver.
    receiver: String,
    /// The last record that was sent.
    sent: u64,
    /// Behind which record to begin after a loss.
    again_from: u64,
}

impl Cursor {
    /// Reads the place; a receiver that is new is sent everything that is kept.
    pub(super) fn load(path: &Path, receiver: &Syslog) -> io::Result<Self> {
        let receiver = format!(
            "{}://{}:{}",
            receiver.protocol, receiver.host, receiver.port
        );
        let saved = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice::<Kept>(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let saved = saved.filter(|kept| kept.receiver == receiver);
        let fresh = Kept {
            receiver,
            sent: 0,
            again_from: 0,
        };
        Ok(Self {
            path: path.to_owned(),
            kept: saved.clone().unwrap_or(fresh),
            saved,
            marks: VecDeque::new(),
            bytes: 0,
        })
    }

    /// Returns the last record that was sent.
    pub(super) const fn sent(&self) -> u64 {
        self.kept.sent
    }

    /// Returns behind which record to begin after a connection was lost.
    pub(super) const fn again_from(&self) -> u64 {
        self.kept.again_from
    }

    /// Begins anew, for a trail that does.
    pub(super) fn restart(&mut self) {
        self.kept.sent = 0;
        self.kept.again_from = 0;
        self.marks.clear();
    }

    /// Takes note of a record that was sent; one that is sent again moves nothing back.
    pub(super) fn advance(&mut self, seq: u64, bytes: u64) {
        self.bytes += bytes;
        if self
            .marks
            .back()
            .is_none_or(|(last, _)| seq >= last + MARK_RECORDS || seq < *last)
        {
            self.marks.push_back((seq, self.bytes));
        }
        while self
            .marks
            .get(1)
            .is_some_and(|(_, upto)| self.bytes - upto > AGAIN_BYTES)
        {
            self.marks.pop_front();
        }
        self.kept.sent = self.kept.sent.max(seq);
        let oldest = self.marks.iter().map(|(seq, _)| *seq).min();
        let by_bytes = oldest.map_or(seq, |seq| seq.saturating_sub(1));
        let by_records = self.kept.sent.saturating_sub(AGAIN_RECORDS);
        self.kept.again_from = by_bytes.min(by_records);
    }

    /// Writes the place down if it has changed.
    pub(super) fn save(&mut self) -> io::Result<()> {
        if self.saved.as_ref() == Some(&self.kept) {
            return Ok(());
        }
        private::replace_file(&self.path, &serde_json::to_vec(&self.kept)?)?;
        self.saved = Some(self.kept.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use config::gateway::audit::{Syslog, SyslogProtocol};

    use super::Cursor;

    fn receiver(port: u16) -> Syslog {
        Syslog {
            host: "siem.example.org".to_owned(),
            port,
            protocol: SyslogProtocol::Tcp,
            ca: None,
        }
    }

    #[test]
    fn the_last_thousand_or_eight_mebibytes_are_sent_again() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let path = kept.path().join("place.json");
        let mut cursor = Cursor::load(&path, &receiver(514)).expect("nothing there");
        assert_eq!((cursor.sent(), cursor.again_from()), (0, 0));
        for seq in 1..=5_000 {
            cursor.advance(seq, 500);
        }
        assert_eq!(cursor.again_from(), 0, "2.5 MB were sent in all");
        for seq in 5_001..=50_000 {
            cursor.advance(seq, 500);
        }
        let again = 50_000 - cursor.again_from();
        assert!((16_777..17_000).contains(&again), "{again}");
        for seq in 50_001..=60_000 {
            cursor.advance(seq, 100_000);
        }
        assert_eq!(cursor.again_from(), 59_000);
        cursor.save().expect("written");
        let again = Cursor::load(&path, &receiver(514)).expect("read");
        assert_eq!((again.sent(), again.again_from()), (60_000, 59_000));
        let other = Cursor::load(&path, &receiver(515)).expect("read");
        assert_eq!(other.sent(), 0, "another receiver has nothing yet");
    }
}
