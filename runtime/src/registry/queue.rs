//! The queue files that other tools keep in a project: `.loki/queue/*.json`, read as tasks.
//!
//! Invariant: a project can neither hold up nor bloat an answer; what is left out is said. A file is
//! read again only when it has changed.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

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

/// The tasks of one project's queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) tasks: Vec<QueueTask>,
    /// Files that were left out, in whole or in part, and why.
    pub(crate) left_out: Vec<String>,
}

/// The queues that were read, by project path.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    read: Mutex<HashMap<String, Read>>,
}

#[derive(Clone, Debug)]
struct Read {
    prints: Prints,
    queue: Arc<Queue>,
}

type Prints = [Option<Print>; FILES.len()];

impl Queues {
    /// Returns the queue of the project at a canonical path; an unreachable one is empty.
    pub(crate) fn of(&self, path: &str) -> Arc<Queue> {
        let Ok(folder) = Folder::open(Path::new(path)).and_then(|it| it.below(".loki/queue"))
        else {
            self.table().remove(path);
            return Arc::default();
        };
        let prints = FILES.map(|(name, _)| folder.print(name));
        if let Some(read) = self.table().get(path)
            && read.prints == prints
        {
            return Arc::clone(&read.queue);
        }
        let queue = Arc::new(read(&folder));
        let mut table = self.table();
        if table.len() >= KEPT_MAX {
            table.clear();
        }
        let read = Read {
            prints,
            queue: Arc::clone(&queue),
        };
        table.insert(path.to_owned(), read);
        queue
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueTask {
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

fn read(folder: &Folder) -> Queue {
    let mut queue = Queue::default();
    for (name, status) in FILES {
        let left_out = match folder.read(name, FILE_BYTES_MAX) {
            Ok(bytes) => add(&mut queue.tasks, &bytes, status).err(),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = left_out {
            queue.left_out.push(format!(".loki/queue/{name}: {why}"));
        }
    }
    queue
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
    let first = tasks.len();
    let mut malformed = 0_u32;
    for (index, item) in items.iter().enumerate() {
        if tasks.len() >= TASKS_MAX {
            return Err(format!("tasks beyond the project's first {TASKS_MAX}"));
        }
        match task(item, status) {
            Some(task) if tasks[first..].iter().any(|other| other.id == task.id) => malformed += 1,
            Some(task) => tasks.push(task),
            None => malformed += 1,
        }
        if index >= ITEMS_MAX {
            return Err(format!("entries beyond the file's first {ITEMS_MAX}"));
        }
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
const ITEMS_MAX: usize = 1_000;
const TASKS_MAX: usize = 1_000;
const TEXT_CHARACTERS_MAX: usize = 200;
/// Most projects whose queues are kept in memory.
const KEPT_MAX: usize = 2_000;

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
        assert_eq!(queues.of(path).tasks, []);
        fs::create_dir_all(root.join(".loki/queue")).unwrap();
        let file = root.join(".loki/queue/in-progress.json");
        fs::write(&file, "[{\"id\":\"a\"}]").unwrap();
        assert_eq!(titles(&queues.of(path).tasks), [("a", "a")]);
        fs::write(&file, "[{\"id\":\"a\"},{\"id\":\"b\"}]").unwrap();
        assert_eq!(titles(&queues.of(path).tasks), [("a", "a"), ("b", "b")]);
        fs::remove_dir_all(root.join(".loki")).unwrap();
        assert_eq!(queues.of(path).tasks, []);
    }
}
