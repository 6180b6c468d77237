//! `loki memory import`: reads files of this memory and of Loki Mode.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ::config::contract::learning::{
    IMPORT_MAX, ImportLearnings, Imported, LearningKind, NewLearning,
};
use ::config::contract::registry::ProjectList;
use serde_json::Value;

use super::{ImportArguments, PATH, kind};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &ImportArguments) -> Result<(), Failure> {
    let files = match &arguments.file {
        Some(file) => vec![context.directory().join(file)],
        None => own_files(&context.offline()?.home.directory().join("learnings")),
    };
    if files.is_empty() {
        return Err(
            Failure::failed("there are no learnings of Loki Mode in the data directory")
                .fix("name the file: loki memory import FILE"),
        );
    }
    let client = Client::new(context, &arguments.shared.reach)?;
    let projects = Projects::fetch(&client)?;
    let mut learnings = Vec::new();
    let mut sum = Imported::default();
    for file in &files {
        let text = read(file)?;
        for (index, line) in text.lines().enumerate() {
            match parse(line, default_kind(file), &projects) {
                Parsed::Learning(learning) => learnings.push(learning),
                Parsed::Nothing => {}
                Parsed::Malformed => {
                    let line = index + 1;
                    let why = format!("{} line {line}: no learning", file.display());
                    sum.refused.push(why);
                }
            }
        }
    }
    for batch in learnings.chunks(IMPORT_MAX) {
        let request = ImportLearnings {
            learnings: batch.to_vec(),
        };
        let imported: Imported = client.post(&format!("{PATH}/import"), Some(&request))?;
        sum.added += imported.added;
        sum.known += imported.known;
        sum.refused.extend(imported.refused);
    }
    if arguments.shared.json {
        return output::json(&sum);
    }
    output::line(&format!(
        "{} imported into quarantine, {} known already, {} refused; review them with loki memory \
         list --trust quarantined",
        sum.added,
        sum.known,
        sum.refused.len()
    ))?;
    for why in sum.refused.iter().take(REFUSED_SHOWN) {
        output::warn(&output::visible(why));
    }
    Ok(())
}

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Learning(NewLearning),
    /// An empty line, or the first line of a file of Loki Mode.
    Nothing,
    Malformed,
}

/// Ids of the registered projects by path and, where it is the only one, by name.
#[derive(Debug, Default)]
struct Projects(HashMap<String, Option<String>>);

impl Projects {
    fn fetch(client: &Client) -> Result<Self, Failure> {
        let list: ProjectList = client.get("/api/registry/projects?limit=1000")?;
        let mut projects = Self::default();
        for project in list.projects {
            let id = project.id.to_string();
            projects.0.insert(project.path, Some(id.clone()));
            projects
                .0
                .entry(project.name)
                .and_modify(|known| *known = None)
                .or_insert(Some(id));
        }
        Ok(projects)
    }
}

fn own_files(folder: &Path) -> Vec<PathBuf> {
    ["patterns", "mistakes", "successes"]
        .iter()
        .map(|name| folder.join(format!("{name}.jsonl")))
        .filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file()))
        .collect()
}

fn default_kind(file: &Path) -> LearningKind {
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("patterns") => LearningKind::Pattern,
        Some("mistakes") => LearningKind::Mistake,
        Some("successes") => LearningKind::Success,
        Some(_) | None => LearningKind::Note,
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let found = fs::metadata(path).map_err(|error| Failure::io("open", path, &error))?;
    let wrong = |why: &str| Failure::failed(format!("cannot import {}: {why}", path.display()));
    if !found.is_file() {
        return Err(wrong("it is not a regular file"));
    }
    let file = File::open(path).map_err(|error| Failure::io("open", path, &error))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::io("read", path, &error))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(wrong("it is longer than 64 MiB; split it"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))
}

fn parse(line: &str, default: LearningKind, projects: &Projects) -> Parsed {
    if line.trim().is_empty() {
        return Parsed::Nothing;
    }
    let Ok(Value::Object(entry)) = serde_json::from_str(line) else {
        return Parsed::Malformed;
    };
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let Some(learned) = text("text").or_else(|| text("description")) else {
        return if entry.contains_key("version") {
            Parsed::Nothing
        } else {
            Parsed::Malformed
        };
    };
    let project = text("project").and_then(|named| projects.0.get(named).cloned().flatten());
    Parsed::Learning(NewLearning {
        text: learned.to_owned(),
        kind: Some(
            text("type")
                .and_then(|name| kind(name).ok())
                .unwrap_or(default),
        ),
        project,
        expires_days: None,
    })
}

const BYTES_MAX: u64 = 64 * 1024 * 1024;
const REFUSED_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ::config::contract::learning::{LearningKind, NewLearning};

    use super::{Parsed, Projects, parse};

    #[test]
    fn lines_of_both_memories_are_read() {
        let projects = Projects(HashMap::from([
            ("/p/app".to_owned(), Some("proj-1".to_owned())),
            ("app".to_owned(), None),
        ]));
        let check = |line: &str, expected: Parsed| {
            let parsed = parse(line, LearningKind::Mistake, &projects);
            assert_eq!(parsed, expected, "{line}");
        };
        let learning = |text: &str, kind: LearningKind, project: Option<&str>| {
            Parsed::Learning(NewLearning {
                text: text.to_owned(),
                kind: Some(kind),
                project: project.map(str::to_owned),
                expires_days: None,
            })
        };
        check("[1]", Parsed::Malformed);
        check("{", Parsed::Malformed);
        check("{\"text\": 3}", Parsed::Malformed);
        check(" ", Parsed::Nothing);
        check("{\"version\":\"1.0\",\"created\":\"x\"}", Parsed::Nothing);
        check(
            "{\"project\":\"app\",\"category\":\"session\",\"description\":\"d\"}",
            learning("d", LearningKind::Mistake, None),
        );
        check(
            "{\"text\":\"t\",\"type\":\"decision\",\"project\":\"/p/app\"}",
            learning("t", LearningKind::Decision, Some("proj-1")),
        );
    }
}
