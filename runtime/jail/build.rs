//! Turns `syscalls.toml` into the table of numbers that the sandbox's filter is built from, and the
//! list of escapes into the table that the scorecard is made from.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells build scripts by variables"
)]

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Calls {
    group: Vec<Group>,
    judged: std::collections::BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    who: String,
    only: Option<String>,
    calls: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Escapes {
    escape: Vec<Escape>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Escape {
    name: String,
    kind: String,
    needs: Option<String>,
    r#try: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::var("OUT_DIR")?;
    let place = Path::new(&place);
    std::fs::write(place.join("syscalls.rs"), syscalls()?)?;
    std::fs::write(place.join("escapes.rs"), escapes()?)?;
    Ok(())
}

/// Returns the table of escapes.
fn escapes() -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ESCAPES}");
    let escapes: Escapes = toml::from_str(&std::fs::read_to_string(ESCAPES)?)?;
    let mut text = String::from("const ESCAPES: &[Escape] = &[\n");
    for escape in &escapes.escape {
        let Escape {
            name,
            kind,
            needs,
            r#try,
        } = escape;
        writeln!(
            text,
            "    Escape {{ name: {name:?}, kind: {kind:?}, needs: {needs:?}, line: {try:?} }},"
        )?;
    }
    text.push_str("];\n");
    Ok(text)
}

/// Returns the tables of system calls.
fn syscalls() -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-changed=syscalls.toml");
    let calls: Calls = toml::from_str(&std::fs::read_to_string("syscalls.toml")?)?;
    let architecture = std::env::var("CARGO_CFG_TARGET_ARCH")?;
    let mut text = String::from("const ALLOWED: &[i64] = &[\n");
    let mut names: Vec<&str> = calls.judged.keys().map(String::as_str).collect();
    for group in &calls.group {
        if group.who.is_empty() {
            return Err("a group of syscalls.toml does not say who needs it".into());
        }
        if group.only.as_ref().is_none_or(|only| *only == architecture) {
            for call in &group.calls {
                writeln!(text, "    {},", number(call))?;
                names.push(call);
            }
        }
    }
    writeln!(text, "];\n\nconst NAMES: &[&str] = &{names:?};")?;
    text.push_str("\n#[cfg(test)]\nconst JUDGED: &[&str] = &[\n");
    for name in calls.judged.keys() {
        writeln!(text, "    {name:?},")?;
    }
    text.push_str("];\n");
    Ok(text)
}

const ESCAPES: &str = "../../tests/attacks/escapes.toml";

/// Returns the number of a call as an expression: the C library's name for it, or the number itself
/// where that library does not know the call yet. Since Linux 5.1 new numbers are the same everywhere.
fn number(call: &str) -> String {
    let new = [
        ("map_shadow_stack", 453),
        ("futex_wake", 454),
        ("futex_wait", 455),
        ("futex_requeue", 456),
        ("fchmodat2", 452),
        ("mseal", 462),
        ("setxattrat", 463),
        ("getxattrat", 464),
        ("listxattrat", 465),
        ("removexattrat", 466),
        ("file_getattr", 468),
        ("file_setattr", 469),
        ("process_mrelease", 448),
        ("futex_waitv", 449),
    ];
    match new.iter().find(|(name, _)| *name == call) {
        Some((_, number)) => number.to_string(),
        None => format!("libc::SYS_{call}"),
    }
}
