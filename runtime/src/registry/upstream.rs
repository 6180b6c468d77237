//! Reads the registry that Loki Mode keeps in the data directory: `dashboard/projects.json`.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use config::home::Home;
use config::private::NO_FOLLOW;
use serde_json::Value;

use super::folder::read_regular;

/// A project of the other registry, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) name: Option<String>,
    pub(crate) alias: Option<String>,
}

/// Reads the other registry; none is an empty one.
///
/// # Errors
/// When it is there and cannot be used, in words.
pub(crate) fn entries(home: &Home) -> Result<Vec<Entry>, String> {
    let path = home.dashboard().join("projects.json");
    let wrong = |why: String| format!("cannot use {}: {why}", path.display());
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error.to_string())),
    };
    parse(&bytes).map_err(wrong)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NO_FOLLOW | flags)
        .open(path)?;
    read_regular(file, BYTES_MAX)
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    let projects = value["projects"]
        .as_object()
        .ok_or("it holds no projects")?;
    Ok(projects
        .values()
        .filter_map(|entry| {
            let text = |name: &str| {
                let text = entry[name].as_str()?;
                (!text.is_empty()).then(|| text.to_owned())
            };
            Some(Entry {
                path: text("path")?,
                name: text("name"),
                alias: text("alias"),
            })
        })
        .take(ENTRIES_MAX)
        .collect())
}

const BYTES_MAX: u64 = 4 * 1024 * 1024;
const ENTRIES_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::{Entry, parse};

    #[test]
    fn a_registry_of_another_shape_is_refused() {
        for text in ["", "[]", "{\"projects\": []}", "{\"version\":\"1.0\"}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_known_shape_is_read() {
        let text = r#"{"version":"1.0","projects":{"abc":{"id":"abc","path":"/p/a","name":"a",
            "alias":null,"status":"active"},"def":{"name":"no path"}}}"#;
        let expected = Entry {
            path: "/p/a".to_owned(),
            name: Some("a".to_owned()),
            alias: None,
        };
        assert_eq!(parse(text.as_bytes()), Ok(vec![expected]));
    }
}
