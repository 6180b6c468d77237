//! Writes records for other programs, oldest first.
//!
//! Invariant: memory is bounded by one line; `jsonl` keeps every byte of a line, so that an export
//! without filter is chained as the trail is.

use std::fs::File;
use std::io::{self, Write};

use config::home::Home;

use super::files::{self, FileName};
use super::forward::{LineEnd, read_line};
use super::parameter;
use super::query::{BadParameter, FILTERS, Query, Seen};
use super::record::Record;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The lines as they are.
    Jsonl,
    /// A line of names, then one line per record (RFC 4180); a text that a spreadsheet would take
    /// for a formula has an apostrophe before it.
    Csv,
}

impl Format {
    /// Every format.
    pub const EVERY: [Self; 2] = [Self::Jsonl, Self::Csv];

    /// Returns the name as given in parameters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }

    /// Returns the media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// Reads the query string of `GET /api/enterprise/audit/export`.
///
/// # Errors
/// When a parameter is unknown, given twice, malformed or out of bounds.
pub fn parse(text: Option<&str>) -> Result<(Query, Format), BadParameter> {
    let mut query = Query::default();
    let mut format = Format::Jsonl;
    let known: Vec<&str> = std::iter::once("format").chain(FILTERS).collect();
    parameter::each(text, &known, |name, value| {
        if name != "format" {
            return query.set(name, value);
        }
        let found = Format::EVERY.into_iter().find(|one| one.name() == value);
        format = found.ok_or_else(|| BadParameter::new(name, "give jsonl or csv"))?;
        Ok(())
    })?;
    query.check_days()?;
    Ok((query, format))
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records.
    pub records: u64,
    /// Lines that are no records; they are left out.
    pub malformed: u64,
}

const COLUMNS: &str = "timestamp,action,user,resource,details,ip,seq,unix_ms,request_id,phase,outcome,status,scope,auth_method,token_id,user_agent,duration_ms,bytes,truncated,prev,key_id,signature,mac\r\n";

/// Writes the records of `home` that fit; the query's limit and offset do not count.
///
/// # Errors
/// When a file cannot be read, or `out` does not take the records.
pub fn export(
    home: &Home,
    query: &Query,
    format: Format,
    out: &mut impl Write,
) -> io::Result<Exported> {
    let path = home.audit();
    let mut exported = Exported::default();
    if format == Format::Csv {
        out.write_all(COLUMNS.as_bytes())?;
    }
    let names = files::list(&path)?;
    let Some(newest) = names.last().copied() else {
        return Ok(exported);
    };
    let directory = File::open(&path)?;
    for name in names.into_iter().filter(|name| query.may_be_in(*name)) {
        let ended_whole = one_file(&directory, name, query, format, out, &mut exported)?;
        // A writer may be about to finish the last line of the newest file.
        exported.malformed += u64::from(!ended_whole && name != newest);
    }
    Ok(exported)
}

/// Writes what fits of one file; returns false if its last line is not finished.
fn one_file(
    directory: &File,
    name: FileName,
    query: &Query,
    format: Format,
    out: &mut impl Write,
    exported: &mut Exported,
) -> io::Result<bool> {
    let mut reader = files::open_to_read(directory, name)?.reader()?;
    let mut line = Vec::new();
    loop {
        let end = match read_line(&mut reader, &mut line) {
            Ok(Some(end)) => end,
            Ok(None) => return Ok(true),
            Err(error) if files::is_damage(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        match end {
            LineEnd::Feed => {}
            LineEnd::OfFile => return Ok(false),
            LineEnd::Oversized(_) => line.clear(),
        }
        let Ok(seen) = serde_json::from_slice::<Seen<'_>>(&line) else {
            exported.malformed += 1;
            continue;
        };
        if !query.fits(&seen) {
            continue;
        }
        match format {
            Format::Jsonl => {
                out.write_all(&line)?;
                out.write_all(b"\n")?;
            }
            Format::Csv => match serde_json::from_slice::<Record>(&line) {
                Ok(record) => out.write_all(row(&record).as_bytes())?,
                Err(_) => {
                    exported.malformed += 1;
                    continue;
                }
            },
        }
        exported.records += 1;
    }
}

fn row(record: &Record) -> String {
    let details = serde_json::Value::Object(record.details.clone()).to_string();
    let number = |number: Option<String>| number.unwrap_or_default();
    let text = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
    let cells = [
        cell(&record.timestamp),
        cell(&record.action),
        cell(&record.user),
        cell(&record.resource),
        cell(&details),
        cell(&record.ip),
        record.seq.to_string(),
        record.unix_ms.to_string(),
        text(&record.request_id),
        record.phase.name().to_owned(),
        record.outcome.name().to_owned(),
        number(record.status.map(|status| status.to_string())),
        text(&record.scope),
        text(&record.auth_method),
        text(&record.token_id),
        text(&record.user_agent),
        number(record.duration_ms.map(|duration| duration.to_string())),
        number(record.bytes.map(|bytes| bytes.to_string())),
        record.truncated.to_string(),
        text(&record.prev),
        text(&record.key_id),
        text(&record.signature),
        text(&record.mac),
    ];
    cells.join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    if formula || text.contains(['"', ',', '\n', '\r']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use config::home::Home;
    use serde_json::json;

    use super::{COLUMNS, Exported, Format, cell, export};
    use crate::audit::append;
    use crate::audit::query::Query;
    use crate::audit::record::{Draft, Outcome, Phase};

    fn exported(home: &Home, query: &Query, format: Format) -> (String, Exported) {
        let mut out = Vec::new();
        let exported = export(home, query, format, &mut out).expect("read");
        (String::from_utf8(out).expect("text"), exported)
    }

    #[test]
    fn a_cell_is_neither_a_formula_nor_two_cells() {
        let check = |text: &str, expected: &str| assert_eq!(cell(text), expected);
        check("=1+1", "\"'=1+1\"");
        check("-2", "\"'-2\"");
        check("@x", "\"'@x\"");
        check("a,b", "\"a,b\"");
        check("a\"b", "\"a\"\"b\"");
        check("plain text", "plain text");
    }

    #[test]
    fn lines_are_kept_as_they_are_and_filtered() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let home = Home::new(kept.path().to_owned());
        let nothing = exported(&home, &Query::default(), Format::Csv);
        assert_eq!(nothing, (COLUMNS.to_owned(), Exported::default()));
        let details = json!({"n": 1}).as_object().cloned().expect("an object");
        for user in ["ana", "bob"] {
            let draft = Draft {
                user,
                details: Some(&details),
                ..Draft::new("a", Phase::Event, Outcome::Done)
            };
            append(&home, &draft).expect("written");
        }
        let name = std::fs::read_dir(home.audit())
            .expect("read")
            .next()
            .expect("one");
        let text = std::fs::read_to_string(name.expect("read").path()).expect("read");
        let (all, count) = exported(&home, &Query::default(), Format::Jsonl);
        assert_eq!((all, count.records, count.malformed), (text, 2, 0));
        let bob = Query {
            user: Some("bob".to_owned()),
            ..Query::default()
        };
        let (csv, count) = exported(&home, &bob, Format::Csv);
        let row = csv.strip_prefix(COLUMNS).expect("names first");
        assert_eq!(count.records, 1);
        assert!(row.contains(",a,bob,,\"{\"\"n\"\":1}\",,2,"), "{row}");
        assert_eq!(COLUMNS.split(',').count(), 23);
    }
}
