//! One record as an RFC 5424 message.
//!
//! Invariant: the message is the line of the trail, byte for byte, so that chain, seals and
//! signatures can be checked at the receiver too.

use std::borrow::Cow;
use std::fs;
use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;

use crate::audit::record::Outcome;

/// Facility `local0`, as the documented behaviour has it.
const FACILITY: u8 = 16;
const WARNING: u8 = 4;
const INFORMATIONAL: u8 = 6;

/// Longest `HOSTNAME` and `MSGID` of RFC 5424.
const HOST_BYTES_MAX: usize = 255;
const MESSAGE_ID_BYTES_MAX: usize = 32;

/// The structured data's name: 32473 is the number that RFC 5612 keeps for documents; we have none
/// of our own.
const DATA: &str = "loki@32473";

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    host: String,
    process: u32,
}

impl Sender {
    pub(super) fn of_this_process() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            host: printable(host.trim(), HOST_BYTES_MAX),
            process: std::process::id(),
        }
    }
}

/// A message, and the record that it holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) seq: u64,
    pub(super) bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    seq: u64,
    unix_ms: i64,
    outcome: Outcome,
}

/// Returns the message of a line; none if the line is no record.
pub(super) fn frame(sender: &Sender, line: &[u8]) -> Option<Message> {
    let seen: Seen<'_> = serde_json::from_slice(line).ok()?;
    let severity = if seen.outcome.is_success() {
        INFORMATIONAL
    } else {
        WARNING
    };
    let time = DateTime::<Utc>::from_timestamp_millis(seen.unix_ms)?;
    let mut bytes = Vec::with_capacity(line.len() + 160);
    write!(
        bytes,
        "<{}>1 {} {} loki-gateway {} {} [{DATA} seq=\"{}\"] ",
        FACILITY * 8 + severity,
        time.to_rfc3339_opts(SecondsFormat::Millis, true),
        sender.host,
        sender.process,
        printable(&seen.action, MESSAGE_ID_BYTES_MAX),
        seen.seq
    )
    .ok()?;
    bytes.extend_from_slice(line);
    Some(Message {
        seq: seen.seq,
        bytes,
    })
}

/// Returns the printable characters of a text without blanks, `-` if there are none.
fn printable(text: &str, bytes_max: usize) -> String {
    let kept: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(bytes_max)
        .collect();
    if kept.is_empty() {
        "-".to_owned()
    } else {
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::{Sender, frame};

    #[test]
    fn what_is_no_record_is_not_sent() {
        let sender = Sender::of_this_process();
        for line in ["", "rubbish", "{}", r#"{"seq":1}"#] {
            assert_eq!(frame(&sender, line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn the_line_is_the_message() {
        let sender = Sender {
            host: "gw.example.org".to_owned(),
            process: 7,
        };
        let check = |outcome: &str, priority: u8| {
            let line = format!(
                r#"{{"action":"session start","seq":42,"unix_ms":1770033600123,"outcome":"{outcome}"}}"#
            );
            let message = frame(&sender, line.as_bytes()).expect("a record");
            assert_eq!(message.seq, 42);
            assert_eq!(
                String::from_utf8(message.bytes).expect("text"),
                format!(
                    "<{priority}>1 2026-02-02T12:00:00.123Z gw.example.org loki-gateway 7 \
                     sessionstart [loki@32473 seq=\"42\"] {line}"
                )
            );
        };
        check("done", 134);
        check("denied", 132);
    }
}
