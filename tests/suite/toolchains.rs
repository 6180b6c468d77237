//! Real toolchains work in the sandbox.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tests::agent::Agent;
use tests::deployment::Deployment;
use tests::repository::Repository;

/// Has an agent in the sandbox try each line; all have to succeed.
#[track_caller]
fn check(deployment: &Deployment, project: &Repository, lines: &[(&str, &str)]) {
    let mut script = String::from("set -u\ncat >/dev/null\n");
    for (name, line) in lines {
        script.push_str(&format!(
            "if ( {line} ) >\"$TMPDIR/out\" 2>&1; then echo '{name} works' >>report.txt; \
             else echo '{name} fails' >>report.txt; cat \"$TMPDIR/out\" >>report.txt; fi\n"
        ));
    }
    fs::write(deployment.agents().join("claude.sh"), script).unwrap();
    let client = deployment.client();
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let report = project.file_at(view["branch"].as_str().unwrap(), "report.txt");
    let wanted: Vec<String> = lines
        .iter()
        .map(|(name, _)| format!("{name} works"))
        .collect();
    assert_eq!(report, wanted.join("\n"));
}

/// The folder of the Rust toolchain that runs this test, which cargo names.
fn rust() -> Option<PathBuf> {
    let cargo = PathBuf::from(env::var_os("CARGO")?);
    let folder = cargo.canonicalize().ok()?.parent()?.parent()?.to_owned();
    folder.join("bin/rustc").exists().then_some(folder)
}

fn is_installed(name: &str) -> bool {
    ["/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(name).exists())
}

#[test]
fn toolchains_work_in_the_sandbox() {
    let rust = rust();
    let folders: Vec<&Path> = rust.iter().map(PathBuf::as_path).collect();
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .with_vendor(&folders, 443)
        .start();
    let project = deployment.project("app");
    write_crate(&project);
    let tried = [
        ("git", "git clone -q . /tmp/copy && git -C /tmp/copy log -1"),
        (
            "make",
            "printf 'all:\\n\\t@echo made\\n' >/tmp/Makefile && make -C /tmp -s | grep -qx made",
        ),
        (
            "sort",
            "seq 1000 | sort -rn | tee all | head -1 | grep -qx 1000 && test $(wc -l <all) = 1000 && rm all",
        ),
        (
            "python3",
            "python3 -m venv --without-pip /tmp/venv && /tmp/venv/bin/python -c 'import subprocess, threading; print(subprocess.check_output([\"echo\", \"x\"]))'",
        ),
        (
            "node",
            "node -e 'require(\"child_process\").execSync(\"true\"); setTimeout(() => console.log(1), 1)'",
        ),
        (
            "cc",
            "printf 'int main(void){return 0;}' >/tmp/a.c && cc /tmp/a.c -o /tmp/a && /tmp/a",
        ),
        ("perl", "perl -e 'fork() || exit 0; wait; print 1'"),
    ];
    let mut lines: Vec<(&str, &str)> = tried
        .into_iter()
        .filter(|(name, _)| is_installed(name))
        .collect();
    assert!(lines.len() >= 3, "git, sort and perl at least: {lines:?}");
    if rust.is_some() && is_installed("cc") {
        lines.push((
            "cargo",
            "cd crate && cargo build --offline --target-dir /tmp/target && /tmp/target/debug/small | grep -qx vendored",
        ));
    }
    check(&deployment, &project, &lines);
}

/// Writes a small crate with one dependency, whose source lies beside it.
fn write_crate(project: &Repository) {
    let manifest = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n{more}")
    };
    for (file, text) in [
        ("crate/Cargo.toml", manifest("small", "\n[dependencies]\ntiny = \"1\"\n")),
        ("crate/src/main.rs", "fn main() { println!(\"{}\", tiny::WORD); }\n".to_owned()),
        (
            "crate/.cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"vendor\"\n".to_owned(),
        ),
        ("crate/vendor/tiny/Cargo.toml", manifest("tiny", "")),
        ("crate/vendor/tiny/src/lib.rs", "pub const WORD: &str = \"vendored\";\n".to_owned()),
        ("crate/vendor/tiny/.cargo-checksum.json", "{\"files\":{}}\n".to_owned()),
    ] {
        project.write_and_commit(file, &text);
    }
}
