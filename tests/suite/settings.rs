//! All mistakes of the settings at once, each with file, line and key; samples say which.
//!
//! `tests/samples/invalid/NAME.PROGRAM.toml` holds mistakes that its comment lines `# expect: …` name;
//! `tests/samples/valid/…` holds none.

use std::fs;
use std::path::PathBuf;

use tests::command::{self, Finished};
use tests::installation::Installation;
use tests::programs;

fn samples(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = programs::project().join("tests/samples").join(folder);
    let mut samples: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    samples.sort();
    assert!(samples.len() >= 2, "{}", folder.display());
    samples
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let program = name.split('.').nth(1).unwrap();
            assert!(matches!(program, "gateway" | "runtime"), "{name}");
            let file = format!("{program}.toml");
            (path, file)
        })
        .collect()
}

fn check(installation: &Installation) -> Finished {
    installation.loki(&["config", "check"])
}

#[test]
fn every_mistake_of_an_invalid_sample_is_reported_at_once_with_its_place() {
    for (sample, file) in samples("invalid") {
        let installation = Installation::new();
        let text = fs::read_to_string(&sample).unwrap();
        installation.write_settings(&file, &text);
        let finished = check(&installation).ended_with(64);
        let mut expected = 0;
        for (number, line) in text.lines().enumerate() {
            let Some((_, key)) = line.split_once("# expect: ") else {
                continue;
            };
            expected += 1;
            let place = format!("{file}:{}", number + 1);
            let told = finished
                .stderr
                .lines()
                .any(|told| told.contains(&format!("{place}:")) && told.contains(key));
            assert!(
                told,
                "{}: no mistake at {place} about {key}: {finished}",
                sample.display()
            );
        }
        assert!(expected > 0, "{} expects nothing", sample.display());
    }
}

#[test]
fn an_invalid_sample_stops_the_daemon_too() {
    for (sample, file) in samples("invalid") {
        let installation = Installation::new();
        installation.write_settings(&file, &fs::read_to_string(&sample).unwrap());
        let program = format!("loki-{}", file.trim_end_matches(".toml"));
        let finished = command::run(&mut installation.command(&program));
        assert_eq!(finished.code, 64, "{}: {finished}", sample.display());
        assert!(finished.stderr.contains(&file), "{finished}");
    }
}

#[test]
fn valid_samples_are_accepted() {
    for (sample, file) in samples("valid") {
        let installation = Installation::new();
        installation.write_settings(&file, &fs::read_to_string(&sample).unwrap());
        let finished = check(&installation);
        assert_eq!(finished.code, 0, "{}: {finished}", sample.display());
    }
}

#[test]
fn show_tells_where_each_value_came_from() {
    let mut installation = Installation::new();
    installation.write_settings("gateway.toml", "[limits]\nconnections_max = 77\n");
    installation.set("LOKI_ENTERPRISE_AUTH", "true");
    let output = installation.loki(&["config", "show", "--origin"]).output();
    let line = |key: &str| {
        output
            .lines()
            .find(|line| line.contains(key))
            .unwrap_or_else(|| panic!("no {key} in\n{output}"))
    };
    assert!(line("limits.connections_max").contains("77"), "{output}");
    assert!(
        line("limits.connections_max").contains("gateway.toml:2"),
        "{output}"
    );
    assert!(
        line("auth.tokens").contains("LOKI_ENTERPRISE_AUTH"),
        "{output}"
    );
    assert!(line("listen.port").contains("57374"), "{output}");
    assert!(line("listen.port").contains("default"), "{output}");
}

#[test]
fn a_repository_s_own_files_are_not_settings() {
    let installation = Installation::new();
    let project = installation.user_home().join("app");
    fs::create_dir_all(project.join(".loki")).unwrap();
    fs::write(
        project.join(".loki/gateway.toml"),
        "[limits]\nconnections_max = 77\n",
    )
    .unwrap();
    fs::write(
        project.join("gateway.toml"),
        "[limits]\nconnections_max = 78\n",
    )
    .unwrap();
    let mut command = installation.command("loki");
    command.args(["config", "show"]).current_dir(&project);
    let output = command::run(&mut command).output();
    let line = output
        .lines()
        .find(|line| line.contains("limits.connections_max"))
        .unwrap();
    assert!(line.contains("10000"), "{output}");
}
