//! What a session takes from the memory, and what it gives to it.
//!
//! Invariant: a prompt gets nothing from a project that the session's starter may not read, nothing
//! untrusted from another project, and nothing that is in quarantine. What a session writes is never
//! trusted: its text comes from a workspace.

use std::io::ErrorKind;

use config::contract::learning::{LearningKind, LearningSource, LearningView, Trust};
use config::contract::session::Verification;
use serde_json::Value;

use super::live::Live;
use super::prompt::{head, tail};
use super::trail::RUNTIME;
use super::verdict::Iteration;
use super::workshop::WorkError;
use crate::clock;
use crate::folder::SessionFolder;
use crate::identity;
use crate::memory::checked;
use crate::registry::folder::Folder;
use crate::store::{LearningQuestion, any_word};

/// Returns what is worth telling the agent: of its own project the newest, of others the trusted that
/// have words of the requirements in them.
pub(super) async fn recall(live: &Live) -> Result<Vec<LearningView>, WorkError> {
    let store = live.store();
    store.forget_expired(&clock::written(clock::now())).await?;
    let project = live.view().project.clone();
    let mut known = Vec::new();
    for trust in [Trust::Trusted, Trust::Untrusted] {
        let own = LearningQuestion {
            projects: Some(vec![project.clone()]),
            trust: Some(trust),
            ..LearningQuestion::default()
        };
        known.extend(store.learnings(&own, OWN_MAX, 0).await?.learnings);
    }
    let assignment = live.assignment();
    if let Some(words) = any_word(words_of(&assignment.prd_text).into_iter()) {
        let others = LearningQuestion {
            projects: assignment.readable.clone(),
            trust: Some(Trust::Trusted),
            words: Some(words),
            ..LearningQuestion::default()
        };
        let found = store.learnings(&others, OTHERS_MAX, 0).await?.learnings;
        known.extend(
            found
                .into_iter()
                .filter(|it| it.project.as_ref() != Some(&project)),
        );
    }
    known.retain(|learning| may_tell(learning, &project, assignment.readable.as_deref()));
    Ok(known)
}

/// Remembers a failure that the iteration just done has mended, or the one in which it ended.
pub(super) async fn observe(
    live: &Live,
    done: &[Iteration],
    verify: &[String],
) -> Result<(), WorkError> {
    if let Some(text) = observed(done, &verify.join(" ")) {
        let learning = learning(live, text, LearningKind::Mistake, LearningSource::Session);
        if let Some(learning) = learning {
            live.store().learn(&learning).await?;
        }
    }
    Ok(())
}

/// Takes the notes that the agent left in [`NOTES`] of its home, into quarantine.
pub(super) async fn keep_notes(live: &Live, folder: &SessionFolder) -> Result<(), WorkError> {
    let home = folder.home();
    let read = move || Folder::open(&home)?.read(NOTES, NOTES_BYTES_MAX);
    let bytes = match tokio::task::spawn_blocking(read).await? {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let path = folder.home().join(NOTES);
            return Err(WorkError::File { path, source });
        }
    };
    let learnings: Vec<LearningView> = String::from_utf8_lossy(&bytes)
        .lines()
        .filter_map(note)
        .take(NOTES_MAX)
        .filter_map(|(kind, text)| learning(live, text, kind, LearningSource::Agent))
        .collect();
    if !learnings.is_empty() {
        live.store().learn_all(&learnings).await?;
    }
    Ok(())
}

/// Judges once more, whatever the questions to the store were.
fn may_tell(learning: &LearningView, project: &str, readable: Option<&[String]>) -> bool {
    let is_own = learning.project.as_deref() == Some(project);
    let may_read = match (&learning.project, readable) {
        (_, None) => true,
        (Some(path), Some(readable)) => readable.contains(path),
        (None, Some(_)) => false,
    };
    match learning.trust {
        Trust::Trusted => may_read,
        Trust::Untrusted => is_own && may_read,
        Trust::Quarantined => false,
    }
}

/// Says what a verification that has just passed, or has failed just so twice, teaches.
fn observed(done: &[Iteration], command: &str) -> Option<String> {
    let [.., before, last] = done else {
        return None;
    };
    let Verification::Failed { exit_code, output } = &before.verification else {
        return None;
    };
    let output = tail(output.trim_end(), OUTPUT_BYTES_MAX);
    match &last.verification {
        Verification::Passed => Some(format!(
            "`{command}` ended with {exit_code}; mended in the next iteration by changing {} files. \
             The end of its output was:\n{output}",
            last.files_changed
        )),
        Verification::Failed { .. } if before.verification == last.verification => Some(format!(
            "`{command}` ended with {exit_code} twice in the same way. The end of its output was:\n\
             {output}"
        )),
        Verification::Failed { .. } | Verification::Pending | Verification::Unverified => None,
    }
}

fn note(line: &str) -> Option<(LearningKind, String)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let kind = LearningKind::EVERY
        .into_iter()
        .find(|kind| value["type"].as_str() == Some(kind.name()));
    let text = value["text"].as_str()?;
    Some((kind.unwrap_or(LearningKind::Note), text.to_owned()))
}

fn learning(
    live: &Live,
    text: String,
    kind: LearningKind,
    source: LearningSource,
) -> Option<LearningView> {
    let view = live.view();
    let text = checked(head(&text, TEXT_BYTES_MAX)).ok()?;
    Some(LearningView {
        id: identity::learning_id().ok()?,
        text,
        kind,
        trust: if source == LearningSource::Session {
            Trust::Untrusted
        } else {
            Trust::Quarantined
        },
        source,
        project: Some(view.project.clone()),
        session: Some(view.id.clone()),
        author: match source {
            LearningSource::Agent => format!("agent:{}", view.provider),
            LearningSource::Session | LearningSource::Person | LearningSource::Import => {
                RUNTIME.to_owned()
            }
        },
        created_at: clock::written(clock::now()),
        expires_at: Some(clock::written(clock::now() + KEPT)),
    })
}

/// Returns the requirements' longer words, each once, in their order.
fn words_of(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    for word in text.split(|character: char| !character.is_alphanumeric()) {
        if word.chars().count() >= WORD_CHARACTERS_MIN && !words.contains(&word) {
            words.push(word);
        }
        if words.len() >= WORDS_MAX {
            break;
        }
    }
    words
}

/// The file in the agent's home in which it can leave notes: lines `{"type": "note", "text": "…"}`.
pub(super) const NOTES: &str = "loki-notes.jsonl";

const NOTES_BYTES_MAX: u64 = 64 * 1024;
const NOTES_MAX: usize = 20;
const TEXT_BYTES_MAX: usize = 2 * 1024;
const OUTPUT_BYTES_MAX: usize = 1024;
const OWN_MAX: u32 = 5;
const OTHERS_MAX: u32 = 5;
const WORDS_MAX: usize = 16;
const WORD_CHARACTERS_MIN: usize = 5;
/// How long what a session wrote is kept unless a person vouches for it.
const KEPT: std::time::Duration = std::time::Duration::from_secs(180 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use config::contract::id::LearningId;
    use config::contract::learning::{LearningKind, LearningSource, LearningView, Trust};
    use config::contract::session::Verification;

    use super::{may_tell, note, observed, words_of};
    use crate::session::verdict::{AgentEnd, Iteration};

    #[test]
    fn only_what_may_be_told_is_told() {
        let check = |trust: Trust, of: Option<&str>, readable: Option<&[&str]>, expected: bool| {
            let learning = LearningView {
                id: LearningId::from_random([1; LearningId::RANDOM_BYTES]),
                text: "x".to_owned(),
                kind: LearningKind::Note,
                trust,
                source: LearningSource::Session,
                project: of.map(str::to_owned),
                session: None,
                author: String::new(),
                created_at: String::new(),
                expires_at: None,
            };
            let readable: Option<Vec<String>> =
                readable.map(|list| list.iter().map(ToString::to_string).collect());
            let told = may_tell(&learning, "/p/own", readable.as_deref());
            assert_eq!(told, expected, "{trust:?} {of:?} {readable:?}");
        };
        check(Trust::Quarantined, Some("/p/own"), None, false);
        check(Trust::Quarantined, None, None, false);
        check(Trust::Untrusted, Some("/p/other"), None, false);
        check(Trust::Untrusted, None, None, false);
        check(Trust::Trusted, Some("/p/other"), Some(&["/p/own"]), false);
        check(Trust::Trusted, None, Some(&["/p/own"]), false);
        check(Trust::Untrusted, Some("/p/own"), Some(&[]), false);
        check(Trust::Untrusted, Some("/p/own"), None, true);
        check(Trust::Untrusted, Some("/p/own"), Some(&["/p/own"]), true);
        check(Trust::Trusted, Some("/p/other"), None, true);
        check(Trust::Trusted, Some("/p/other"), Some(&["/p/other"]), true);
        check(Trust::Trusted, None, None, true);
    }

    #[test]
    fn a_mended_failure_and_a_repeated_one_are_worth_remembering() {
        let failed = |output: &str| Verification::Failed {
            exit_code: 1,
            output: output.to_owned(),
        };
        let check = |verifications: &[Verification], expected: Option<&str>| {
            let done: Vec<_> = verifications
                .iter()
                .map(|verification| Iteration {
                    agent: AgentEnd::Exited(0),
                    files_changed: 2,
                    verification: verification.clone(),
                })
                .collect();
            let text = observed(&done, "make test");
            assert_eq!(text.as_deref(), expected, "{verifications:?}");
        };
        check(&[], None);
        check(&[Verification::Passed], None);
        check(&[failed("a")], None);
        check(&[failed("a"), failed("b")], None);
        check(&[Verification::Pending, Verification::Passed], None);
        check(
            &[failed("expected 4\n"), Verification::Passed],
            Some(
                "`make test` ended with 1; mended in the next iteration by changing 2 files. The \
                 end of its output was:\nexpected 4",
            ),
        );
        check(
            &[failed("a"), failed("a")],
            Some("`make test` ended with 1 twice in the same way. The end of its output was:\na"),
        );
    }

    #[test]
    fn notes_of_another_shape_are_left_out() {
        let check = |line: &str, expected: Option<(LearningKind, &str)>| {
            let expected = expected.map(|(kind, text)| (kind, text.to_owned()));
            assert_eq!(note(line), expected, "{line}");
        };
        check("", None);
        check("[]", None);
        check("{\"text\": 3}", None);
        check(
            "{\"type\":\"order\",\"text\":\"t\"}",
            Some((LearningKind::Note, "t")),
        );
        check(
            "{\"type\":\"pattern\",\"text\":\"t\"}",
            Some((LearningKind::Pattern, "t")),
        );
    }

    #[test]
    fn words_are_long_and_each_stands_once() {
        assert_eq!(
            words_of("Build the parser, then the parser's tests."),
            ["Build", "parser", "tests"]
        );
    }
}
