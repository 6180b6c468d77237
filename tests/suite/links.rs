//! Every link of the documentation leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tests::programs;

fn documents() -> Vec<PathBuf> {
    let project = programs::project();
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in [".", "docs", "docs/decisions", "deploy", "deploy/demo"] {
        for entry in fs::read_dir(project.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            found.push(target.to_owned());
            rest = after;
        }
    }
    found
}

/// The names under which the headings of a document can be linked.
fn anchors(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
                .map(|letter| if letter == ' ' { '-' } else { letter })
                .collect()
        })
        .collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            assert!(target.exists(), "{}: {link}", document.display());
            if !anchor.is_empty() {
                assert!(
                    anchors(&target).contains(anchor),
                    "{}: {link}",
                    document.display()
                );
            }
        }
    }
    assert!(count > 10, "only {count} links found");
}

#[test]
fn files_named_in_the_map_exist() {
    let project = programs::project();
    let text = fs::read_to_string(project.join("docs/architecture.md")).unwrap();
    let mut count = 0;
    for word in text.split('`').skip(1).step_by(2) {
        let is_path =
            word.contains('/') && word.ends_with(".rs") && !word.contains(['*', ' ', '{']);
        if is_path {
            count += 1;
            assert!(
                project.join(word).exists(),
                "docs/architecture.md names {word}"
            );
        }
    }
    assert!(count > 10, "only {count} files named");
}
