//! The queue files that other tools keep in a project: `.loki/queue/*.json`, read as tasks.
//!
//! Invariant: a project can neither hold up nor bloat an answer; what is left out is said. A file is
//! read again only when it has changed.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest as hash};
use config::contract::registry::{ProjectView, TaskSource, TaskStatus, TaskView};
use serde_json::Value;

use super::folder::{Folder, Print};

/// A task as a queue file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueTask {
    id: String,
    title: String,
    kind: String,
    pub(crate) status: TaskStatus,
    started_at: Option<String>,
    ended_at: Option<String>,
}

/// What one queue file holds.
#[derive(Debug, Default)]
pub(crate) struct QueueFile {
    pub(crate) tasks: Vec<QueueTask>,
    /// Why the file was left out, in whole or in part.
    pub(crate) left_out: Option<String>,
}

/// The queue files that were read, by project path.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<String, [Option<Seen>; FILES.len()]>,
    /// What all of them weigh together.
    weight: u64,
}

/// A file as it was when it was last read.
#[derive(Clone, Debug)]
struct Seen {
    print: Print,
    file: Arc<QueueFile>,
}

impl Queues {
    /// Returns the queue files of the project at a canonical path that hold tasks of this status, or
    /// all. An unreachable project has none.
    ///
    /// A file is known by its own print, so that a question for one status looks at no more than the
    /// files of that status, and an unchanged file costs one look.
    pub(crate) fn of(&self, path: &str, status: Option<TaskStatus>) -> Vec<Arc<QueueFile>> {
        let Ok(folder) = Folder::open(&Path::new(path).join(".loki/queue")) else {
            self.kept().forget(path);
            return Vec::new();
        };
        let mut files = Vec::new();
        for (place, (name, held)) in FILES.iter().enumerate() {
            if status.is_some_and(|status| status != *held) {
                continue;
            }
            let Some(print) = folder.print(name) else {
                continue;
            };
            let known = self.kept().known(path, place, print);
            let file = known.unwrap_or_else(|| {
                let file = Arc::new(read(&folder, name, *held));
                self.kept().keep(path, place, print, &file);
                file
            });
            files.push(file);
        }
        files
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn known(&self, path: &str, place: usize, print: Print) -> Option<Arc<QueueFile>> {
        let seen = self.files.get(path)?[place].as_ref()?;
        (seen.print == print).then(|| Arc::clone(&seen.file))
    }

    fn keep(&mut self, path: &str, place: usize, print: Print, file: &Arc<QueueFile>) {
        if self.weight >= WEIGHT_MAX {
            self.files.clear();
            self.weight = 0;
        }
        let seen = Seen {
            print,
            file: Arc::clone(file),
        };
        self.weight += file.weight();
        let places = self.files.entry(path.to_owned()).or_default();
        if let Some(before) = places[place].replace(seen) {
            self.weight = self.weight.saturating_sub(before.file.weight());
        }
    }

    fn forget(&mut self, path: &str) {
        let seen = self.files.remove(path).into_iter().flatten().flatten();
        let weight: u64 = seen.map(|seen| seen.file.weight()).sum();
        self.weight = self.weight.saturating_sub(weight);
    }
}

impl QueueFile {
    /// Returns about how many bytes of memory it takes.
    fn weight(&self) -> u64 {
        let texts = self.tasks.iter().map(QueueTask::weight).sum::<usize>();
        (FILE_WEIGHT + texts) as u64
    }
}

impl QueueTask {
    fn weight(&self) -> usize {
        let times = [&self.started_at, &self.ended_at].into_iter().flatten();
        let texts = [&self.id, &self.title, &self.kind].into_iter().chain(times);
        size_of::<Self>() + texts.map(String::len).sum::<usize>()
    }

    /// Returns the task as callers see it.
    pub(crate) fn view(&self, project: &ProjectView) -> TaskView {
        TaskView {
            id: format!("{}:{}", project.id, self.id),
            title: self.title.clone(),
            status: self.status,
            source: TaskSource::Queue,
            kind: self.kind.clone(),
            project_id: project.id.clone(),
            project_name: project.name.clone(),
            project_path: project.path.clone(),
            started_at: self.started_at.clone(),
            ended_at: self.ended_at.clone(),
        }
    }
}

fn read(folder: &Folder, name: &str, status: TaskStatus) -> QueueFile {
    let mut file = QueueFile::default();
    let left_out = match folder.read(name, FILE_BYTES_MAX) {
        Ok(bytes) => add(&mut file.tasks, &bytes, status).err(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(error.to_string()),
    };
    file.left_out = left_out.map(|why| format!(".loki/queue/{name}: {why}"));
    file
}

/// Adds the tasks of one file. Says what was left out.
fn add(tasks: &mut Vec<QueueTask>, bytes: &[u8], status: TaskStatus) -> Result<(), String> {
    if bytes.trim_ascii().is_empty() {
        return Ok(());
    }
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    let items = match value {
        Value::Array(items) => items,
        Value::Object(mut members) => match members.remove("tasks") {
            Some(Value::Array(items)) => items,
            Some(_) | None => return Err("it holds no list of tasks".to_owned()),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err("it holds no list of tasks".to_owned());
        }
    };
    let mut ids = HashSet::new();
    let mut malformed = 0_u32;
    for item in items.iter().take(TASKS_MAX) {
        match task(item, status) {
            Some(task) if ids.insert(task.id.clone()) => tasks.push(task),
            Some(_) | None => malformed += 1,
        }
    }
    if items.len() > TASKS_MAX {
        return Err(format!("entries beyond the file's first {TASKS_MAX}"));
    }
    if malformed > 0 {
        return Err(format!(
            "{malformed} entries are no tasks, or have an id twice"
        ));
    }
    Ok(())
}

fn task(item: &Value, status: TaskStatus) -> Option<QueueTask> {
    item.as_object()?;
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(line);
    let payload = |name: &str| item["payload"][name].as_str().map(line);
    let id = match item.get("id") {
        Some(Value::String(id)) if !id.is_empty() => line(id),
        Some(Value::Number(id)) => id.to_string(),
        Some(_) | None => digest(item),
    };
    let title = ["title", "description"]
        .into_iter()
        .find_map(text)
        .or_else(|| payload("goal"))
        .or_else(|| payload("action"))
        .unwrap_or_else(|| id.clone());
    Some(QueueTask {
        id,
        title,
        kind: text("type").unwrap_or_else(|| "task".to_owned()),
        status,
        started_at: text("startedAt"),
        ended_at: text("completedAt"),
    })
}

/// Returns an id for a task without one: the same as long as the task is the same.
fn digest(item: &Value) -> String {
    let digest = hash(&SHA256, item.to_string().as_bytes());
    let first: Vec<_> = digest
        .as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    first.concat()
}

/// Returns a text as one bounded line without control characters.
fn line(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(TEXT_CHARACTERS_MAX)
        .collect()
}

/// The queue files and the status of what lies in them.
const FILES: [(&str, TaskStatus); 6] = [
    ("pending.json", TaskStatus::Pending),
    ("in-progress.json", TaskStatus::InProgress),
    ("review.json", TaskStatus::InProgress),
    ("completed.json", TaskStatus::Completed),
    ("failed.json", TaskStatus::Failed),
    ("dead-letter.json", TaskStatus::Failed),
];

const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most tasks of a file.
const TASKS_MAX: usize = 1_000;
const TEXT_CHARACTERS_MAX: usize = 200;
/// Most bytes of queue files that are kept in memory, and what a file takes besides its tasks.
const WEIGHT_MAX: u64 = 128 * 1024 * 1024;
const FILE_WEIGHT: usize = 256;

#[cfg(test)]
mod tests {
    use std::fs;

    use config::contract::registry::TaskStatus;

    use super::{QueueTask, Queues, add};

    fn titles(tasks: &[QueueTask]) -> Vec<(&str, &str)> {
        tasks
            .iter()
            .map(|task| (task.id.as_str(), task.title.as_str()))
            .collect()
    }

    #[test]
    fn what_is_no_queue_is_left_out_and_said() {
        let check = |text: &str, expected: &str| {
            let mut tasks = Vec::new();
            let why = add(&mut tasks, text.as_bytes(), TaskStatus::Pending).expect_err(text);
            assert!(why.starts_with(expected), "{text}: {why}");
        };
        check("{", "it is not JSON");
        check(&"[".repeat(100_000), "it is not JSON");
        check("{\"tasks\": 3}", "it holds no list of tasks");
        check("\"text\"", "it holds no list of tasks");
        check("[1, {\"id\": \"a\"}]", "1 entries are no tasks");
        check(
            "[{\"id\": \"a\"}, {\"id\": \"a\"}]",
            "1 entries are no tasks",
        );
        let many = format!("[{}{{}}]", "{},".repeat(5_000));
        check(&many, "entries beyond the file's first 1000");
    }

    #[test]
    fn both_shapes_of_a_queue_are_read() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let mut tasks = Vec::new();
            add(&mut tasks, text.as_bytes(), TaskStatus::Pending).expect(text);
            assert_eq!(titles(&tasks), expected);
        };
        check("", &[]);
        check("[]", &[]);
        check("[{\"id\":\"a\",\"title\":\"x\\ny\"}]", &[("a", "x y")]);
        check(
            "{\"tasks\":[{\"id\":7,\"type\":\"t\",\"payload\":{\"goal\":\"g\"}}]}",
            &[("7", "g")],
        );
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let path = root.to_str().unwrap();
        let queues = Queues::default();
        let in_progress = Some(TaskStatus::InProgress);
        let check = |status: Option<TaskStatus>, expected: &[(&str, &str)]| {
            let files = queues.of(path, status);
            let found: Vec<_> = files.iter().flat_map(|file| titles(&file.tasks)).collect();
            assert_eq!(found, expected, "{status:?}");
        };
        check(None, &[]);
        fs::create_dir_all(root.join(".loki/queue")).unwrap();
        let file = root.join(".loki/queue/in-progress.json");
        fs::write(&file, "[{\"id\":\"a\"}]").unwrap();
        fs::write(root.join(".loki/queue/failed.json"), "[{\"id\":\"f\"}]").unwrap();
        check(in_progress, &[("a", "a")]);
        check(None, &[("a", "a"), ("f", "f")]);
        assert!(std::sync::Arc::ptr_eq(
            &queues.of(path, in_progress)[0],
            &queues.of(path, None)[0]
        ));
        fs::write(&file, "[{\"id\":\"a\"},{\"id\":\"b\"}]").unwrap();
        check(in_progress, &[("a", "a"), ("b", "b")]);
        fs::remove_file(&file).unwrap();
        check(in_progress, &[]);
        check(Some(TaskStatus::Failed), &[("f", "f")]);
        fs::remove_dir_all(root.join(".loki")).unwrap();
        check(None, &[]);
        assert_eq!(queues.kept().weight, 0);
    }
}
