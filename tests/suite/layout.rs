//! The shape of the project: what lies where, who depends on whom, and how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::command;
use tests::programs;

/// Longest file, in lines before its tests.
const LINES_MAX: usize = 500;

/// Every Rust file of the project, relative to its root.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["config", "gateway", "load", "runtime", "tests"] {
        collect(&programs::project().join(folder), "rs", &mut found);
    }
    assert!(found.len() > 20, "{found:?}");
    found.sort();
    found
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
}

fn shown(path: &Path) -> String {
    let project = programs::project();
    path.strip_prefix(project)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[test]
fn root_folders_are_the_fixed_ones() {
    let fixed = [
        "config", "deploy", "docs", "gateway", "load", "runtime", "tests",
    ];
    let own = [".ci", ".git", "target"];
    let mut found: Vec<String> = fs::read_dir(programs::project())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !own.contains(&name.as_str()))
        .collect();
    found.sort();
    assert_eq!(found, fixed);
}

#[test]
fn dependencies_point_in_one_direction() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("cli", ["config", "gateway"].as_slice()),
        ("config", &[]),
        ("gateway", &["config"]),
        ("hook", &[]),
        ("jail", &[]),
        ("load", &[]),
        ("runtime", &["config", "hook", "jail"]),
        ("tests", &["config"]),
    ]);
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(name).collect();
    assert_eq!(names, allowed.keys().copied().collect());
    for package in packages {
        let on: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .map(name)
            .filter(|dependency| names.contains(dependency))
            .collect();
        let wrong: Vec<_> = on
            .iter()
            .filter(|dependency| !allowed[name(package)].contains(dependency))
            .collect();
        assert!(wrong.is_empty(), "{} depends on {wrong:?}", name(package));
    }
}

#[test]
fn the_contract_knows_no_framework() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let config = packages
        .iter()
        .find(|package| name(package) == "config")
        .unwrap();
    for dependency in config["dependencies"].as_array().unwrap() {
        let framework = [
            "axum", "hyper", "pingora", "reqwest", "sqlx", "tokio", "tower",
        ];
        assert!(
            !framework.contains(&name(dependency)),
            "config depends on {dependency}"
        );
    }
}

fn metadata() -> Value {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .current_dir(programs::project());
    command::run(&mut command).json()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap()
}

#[test]
fn no_file_is_too_long() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let own = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .count();
        assert!(
            own <= LINES_MAX,
            "{} has {own} lines before its tests",
            shown(&path)
        );
    }
}

#[test]
fn files_are_named_by_their_idea() {
    for path in sources() {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let drawer = [
            "mod", "util", "utils", "common", "helper", "helpers", "misc", "types", "manager",
        ];
        assert!(!drawer.contains(&stem), "{}", shown(&path));
    }
}

#[test]
fn every_file_says_its_purpose_first() {
    for path in sources() {
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//! "),
            "{} opens without its purpose",
            shown(&path)
        );
    }
}

#[test]
fn no_mark_of_unfinished_work() {
    // In two parts, so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[ign", "ore"),
        concat!("allow(dead", "_code)"),
    ];
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        for mark in marks {
            assert!(!text.contains(mark), "{} has {mark}", shown(&path));
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_outside_the_jail() {
    let project = programs::project();
    let root = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    assert!(root.contains("unsafe_code = \"forbid\""));
    let mut manifests = Vec::new();
    for folder in ["config", "gateway", "load", "runtime", "tests"] {
        collect(&project.join(folder), "toml", &mut manifests);
    }
    let crates = manifests.iter().filter(|path| path.ends_with("Cargo.toml"));
    for path in crates {
        if shown(path) == "runtime/jail/Cargo.toml" {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{}",
            shown(path)
        );
    }
    for path in sources() {
        if shown(&path).starts_with("runtime/jail/") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for word in [
            concat!("unsafe", " {"),
            concat!("unsafe", " fn"),
            concat!("unsafe", " impl"),
        ] {
            assert!(!text.contains(word), "{}: {word}", shown(&path));
        }
    }
}

#[test]
fn judging_is_pure() {
    let effects = [
        "async ",
        "std::fs",
        "std::env",
        "std::net",
        "tokio::",
        "Utc::now",
        "SystemTime",
        "Instant::now",
    ];
    for file in [
        "gateway/src/authz.rs",
        "runtime/src/session/state.rs",
        "runtime/src/approval/rules.rs",
        "runtime/src/approval/state.rs",
        "runtime/src/operation/ruling.rs",
        "runtime/src/policy.rs",
        "runtime/src/policy/danger.rs",
        "runtime/src/policy/embedded.rs",
        "runtime/src/policy/path.rs",
        "runtime/src/policy/pattern.rs",
        "runtime/src/policy/reading.rs",
        "runtime/src/policy/rule.rs",
        "runtime/src/policy/shell.rs",
        "runtime/src/policy/shell/expand.rs",
        "runtime/src/policy/shell/run.rs",
        "runtime/src/policy/word.rs",
        "runtime/src/policy/wrapper.rs",
    ] {
        let text = fs::read_to_string(programs::project().join(file)).unwrap();
        let own = text.split("#[cfg(test)]").next().unwrap();
        for effect in effects {
            assert!(!own.contains(effect), "{file} has {effect}");
        }
    }
}

#[test]
fn git_runs_in_one_file_and_agents_start_in_one_module() {
    for path in sources() {
        let place = shown(&path);
        if !place.starts_with("runtime/src/")
            || place.contains("tests")
            || place.ends_with("scene.rs")
        {
            // Tests use git as a project's owner does.
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let own = text.split("#[cfg(test)]").next().unwrap();
        // The command policy names programs; it starts none.
        let judges = place.starts_with("runtime/src/policy");
        if !judges && !place.starts_with("runtime/src/branch/git") {
            assert!(!own.contains("\"git\""), "{place} names the program git");
        }
        if !place.starts_with("runtime/src/sandbox") {
            assert!(
                !own.contains("process::Command"),
                "{place} starts a process"
            );
        }
    }
}

#[test]
fn proof_of_admission_is_made_in_one_file() {
    for path in sources() {
        let place = shown(&path);
        if place == "gateway/src/admission.rs" || place.starts_with("tests/") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("Admitted {"), "{place} makes an Admitted");
    }
}

#[test]
fn token_digests_are_compared_in_constant_time() {
    let text =
        fs::read_to_string(programs::project().join("gateway/src/tokens/format.rs")).unwrap();
    let own = text.split("#[cfg(test)]").next().unwrap();
    let digest = own.split("pub struct TokenDigest").next().unwrap();
    let derives = digest.rsplit("#[derive(").next().unwrap();
    assert!(
        !derives.contains("Eq") && !derives.contains("Ord") && !derives.contains("Hash"),
        "TokenDigest derives a comparison: {derives}"
    );
    assert!(
        own.contains("impl PartialEq for TokenDigest") && own.contains(".ct_eq(&other.0)"),
        "TokenDigest is compared by subtle"
    );
    // The bytes leave the type for the map's key alone, which is half of them.
    for path in sources() {
        let place = shown(&path);
        if place == "gateway/src/tokens/format.rs" || place.starts_with("tests/") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let compared = text
            .lines()
            .any(|line| line.contains("sha256") && line.contains("as_bytes()"));
        assert!(!compared, "{place} looks into a digest");
    }
}
