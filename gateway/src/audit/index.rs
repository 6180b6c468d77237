//! What a closed file holds, so that a query can pass it over without reading it.
//!
//! Invariant: an index only ever spares reading. It names its file and is sealed with the key of
//! commits; one that is missing, malformed, or not sealed by us counts as none.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsFd;

use aws_lc_rs::hmac;
use config::home::Home;
use config::secret;
use serde::{Deserialize, Serialize};

use super::chain::digest;
use super::files::{self, FileName};
use super::forward::{LineEnd, read_line};
use super::record::Outcome;

/// Most actions that are told apart; with more, none is passed over.
const ACTIONS_MAX: usize = 512;

/// Bits per name in the filter, and how many of them each sets: about 1 of 100 is a false find.
const FILTER_BITS: u64 = 10;
const FILTER_SETS: u64 = 7;

/// Most bytes of an index.
const INDEX_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What an index seals besides its content.
const DOMAIN: &[u8] = b"loki audit index 1\n";

const SEAL_BYTES: usize = 32;

/// What a closed file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) facts: Facts,
    filter: Filter,
}

/// The part that people can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    file: String,
    /// The smallest and the largest number; none if there is no record.
    pub(crate) seqs: Option<(u64, u64)>,
    /// The earliest and the latest time in milliseconds since the Unix epoch.
    pub(crate) unix_ms: Option<(i64, i64)>,
    /// What was done; none if it is too much to tell apart.
    actions: Option<BTreeSet<String>>,
    outcomes: BTreeSet<Outcome>,
}

/// The kinds of names that the filter tells apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    User,
    Resource,
    Request,
}

#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    resource: Cow<'a, str>,
    seq: u64,
    unix_ms: i64,
    outcome: Outcome,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
}

impl Index {
    /// Reads a file through.
    pub(crate) fn of(name: FileName, lines: &mut impl BufRead) -> io::Result<Self> {
        let mut facts = Facts {
            file: name.to_string(),
            seqs: None,
            unix_ms: None,
            actions: Some(BTreeSet::new()),
            outcomes: BTreeSet::new(),
        };
        let mut names = Names::default();
        let mut line = Vec::new();
        while let Some(end) = read_line(lines, &mut line)? {
            if !matches!(end, LineEnd::Feed) {
                continue;
            }
            let Ok(seen) = serde_json::from_slice::<Seen<'_>>(&line) else {
                continue;
            };
            names.add(Kind::User, &seen.user);
            names.add(Kind::Resource, &seen.resource);
            if let Some(id) = &seen.request_id {
                names.add(Kind::Request, id);
            }
            facts.add(&seen);
        }
        Ok(Self {
            facts,
            filter: Filter::of(&names.distinct()),
        })
    }

    /// Returns the index of a file if there is a good one.
    pub(crate) fn load(
        directory: impl AsFd,
        name: FileName,
        key: &hmac::Key,
    ) -> io::Result<Option<Self>> {
        let file = match files::open_named(directory, &file_name(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(INDEX_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes, name, key))
    }

    fn parse(bytes: &[u8], name: FileName, key: &hmac::Key) -> Option<Self> {
        let (covered, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL_BYTES)?)?;
        hmac::verify(key, &[DOMAIN, covered].concat(), seal).ok()?;
        let feed = covered.iter().position(|byte| *byte == b'\n')?;
        let facts: Facts = serde_json::from_slice(&covered[..feed]).ok()?;
        let filter = Filter(covered[feed + 1..].to_vec());
        (facts.file == name.to_string()).then_some(Self { facts, filter })
    }

    /// Writes the index beside its file, whole or not at all.
    pub(crate) fn save(
        &self,
        directory: impl AsFd + Copy,
        name: FileName,
        key: &hmac::Key,
    ) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&self.facts)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.filter.0);
        let seal = hmac::sign(key, &[DOMAIN, &bytes].concat());
        bytes.extend_from_slice(seal.as_ref());
        let draft = format!("{}.draft", file_name(name));
        files::remove(directory, &draft)?;
        let mut file: File = files::create(directory, &draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        rustix::fs::renameat(directory, &draft, directory, file_name(name))?;
        Ok(())
    }

    /// Returns whether a record with this name may be in the file.
    pub(crate) fn may_name(&self, kind: Kind, text: &str) -> bool {
        self.filter.may_hold(&Filter::key(kind, text))
    }

    /// Returns whether a record of this action may be in the file.
    pub(crate) fn may_act(&self, action: &str) -> bool {
        let actions = self.facts.actions.as_ref();
        actions.is_none_or(|actions| actions.contains(action))
    }

    /// Returns whether a record of this outcome may be in the file.
    pub(crate) fn may_end(&self, outcome: Outcome) -> bool {
        self.facts.outcomes.contains(&outcome)
    }
}

impl Facts {
    fn add(&mut self, seen: &Seen<'_>) {
        let (first, last) = self.seqs.unwrap_or((seen.seq, seen.seq));
        self.seqs = Some((first.min(seen.seq), last.max(seen.seq)));
        let (first, last) = self.unix_ms.unwrap_or((seen.unix_ms, seen.unix_ms));
        self.unix_ms = Some((first.min(seen.unix_ms), last.max(seen.unix_ms)));
        self.outcomes.insert(seen.outcome);
        if let Some(actions) = &mut self.actions
            && !actions.contains(&*seen.action)
        {
            actions.insert(seen.action.clone().into_owned());
            if actions.len() > ACTIONS_MAX {
                self.actions = None;
            }
        }
    }
}

/// The names of a file. Neighbours mostly share user and resource, so the last of each kind is remembered.
#[derive(Debug, Default)]
struct Names {
    keys: Vec<(u64, u64)>,
    last: [Option<String>; 3],
}

impl Names {
    fn add(&mut self, kind: Kind, text: &str) {
        let last = &mut self.last[kind as usize];
        if last.as_deref() == Some(text) {
            return;
        }
        let last = last.get_or_insert_default();
        last.clear();
        last.push_str(text);
        self.keys.push(Filter::key(kind, text));
    }

    fn distinct(mut self) -> Vec<(u64, u64)> {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.keys
    }
}

/// A Bloom filter over names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter(Vec<u8>);

impl Filter {
    fn of(keys: &[(u64, u64)]) -> Self {
        let bits = (keys.len() as u64 * FILTER_BITS).max(64);
        let bytes = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
        let mut filter = Self(vec![0; bytes]);
        for key in keys {
            for (byte, mask) in filter.places(*key) {
                filter.0[byte] |= mask;
            }
        }
        filter
    }

    fn key(kind: Kind, text: &str) -> (u64, u64) {
        let mark: &[u8] = match kind {
            Kind::User => b"u",
            Kind::Resource => b"o",
            Kind::Request => b"r",
        };
        let hash = digest(&[mark, text.as_bytes()].concat());
        let half = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&hash[from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        (half(0), half(8) | 1)
    }

    fn may_hold(&self, key: &(u64, u64)) -> bool {
        self.places(*key)
            .iter()
            .all(|(byte, mask)| self.0[*byte] & mask != 0)
    }

    fn places(&self, (first, step): (u64, u64)) -> Vec<(usize, u8)> {
        let bits = (self.0.len() as u64 * 8).max(1);
        (0..FILTER_SETS)
            .filter_map(|number| {
                let bit = first.wrapping_add(step.wrapping_mul(number)) % bits;
                let byte = usize::try_from(bit / 8).ok()?;
                (byte < self.0.len()).then_some((byte, 1 << (bit % 8)))
            })
            .collect()
    }
}

/// Returns the name of a file's index.
pub(crate) fn file_name(name: FileName) -> String {
    format!("{name}.index")
}

/// Returns the key that indexes are checked with; without it, none is used.
pub(crate) fn key(home: &Home) -> Option<hmac::Key> {
    let keys = secret::load_keys(&home.audit_mac_key()).ok()?;
    let newest = keys.into_iter().next()?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, newest.expose()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use aws_lc_rs::hmac;

    use super::{Index, Kind, file_name};
    use crate::audit::files::FileName;
    use crate::audit::record::Outcome;

    const LINES: &str = concat!(
        r#"{"action":"a","user":"ada","resource":"r:1","seq":7,"unix_ms":5,"outcome":"done"}"#,
        "\nrubbish\n",
        r#"{"action":"b","user":"bob","resource":"","seq":8,"unix_ms":4,"outcome":"denied","request_id":"req-1"}"#,
        "\n",
    );

    #[test]
    fn an_index_that_is_not_ours_counts_as_none() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let directory = File::open(kept.path()).expect("opened");
        let name: FileName = "audit-2026-02-02.jsonl".parse().expect("a name");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]);
        let index = Index::of(name, &mut LINES.as_bytes()).expect("read");
        index.save(&directory, name, &key).expect("written");
        let load = |name, key| Index::load(&directory, name, key).expect("read");
        assert_eq!(load(name, &key), Some(index));
        assert_eq!(load(name, &other), None);
        assert_eq!(load(name.next(), &key), None);
        let path = kept.path().join(file_name(name));
        std::fs::copy(&path, kept.path().join(file_name(name.next()))).expect("copied");
        assert_eq!(load(name.next(), &key), None, "it names another file");
        let text = std::fs::read(&path).expect("read");
        std::fs::write(&path, &text[..text.len() - 1]).expect("cut");
        assert_eq!(load(name, &key), None);
    }

    #[test]
    fn what_is_in_the_file_is_never_passed_over() {
        let name: FileName = "audit-2026-02-02.jsonl".parse().expect("a name");
        let index = Index::of(name, &mut LINES.as_bytes()).expect("read");
        assert_eq!(index.facts.seqs, Some((7, 8)));
        assert_eq!(index.facts.unix_ms, Some((4, 5)));
        for user in ["ada", "bob"] {
            assert!(index.may_name(Kind::User, user));
        }
        assert!(index.may_name(Kind::Resource, ""));
        assert!(index.may_name(Kind::Resource, "r:1") && index.may_name(Kind::Request, "req-1"));
        assert!(index.may_act("a") && index.may_act("b") && !index.may_act("c"));
        assert!(index.may_end(Outcome::Done) && !index.may_end(Outcome::Failed));
        let strangers = (0..1_000).filter(|n| index.may_name(Kind::User, &format!("user{n}")));
        assert!(
            strangers.count() < 100,
            "the filter tells most strangers apart"
        );
    }
}
