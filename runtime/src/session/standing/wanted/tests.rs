//! What may be asked of long-lived sandboxes.

use config::contract::sandbox::StartSandbox;
use config::runtime::commands::Commands;

use super::{Wanted, id_of};
use crate::policy::Policy;

fn request() -> StartSandbox {
    StartSandbox {
        project: "/app".to_owned(),
        name: None,
        command: None,
        allowed_paths: None,
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut StartSandbox), expected: Result<&str, &str>) {
    let mut request = request();
    change(&mut request);
    let policy = Policy::new(&Commands::default()).unwrap();
    let judged = Wanted::judge(request, &policy);
    assert_eq!(
        judged
            .map(|wanted| wanted.name)
            .map_err(|error| error.to_string()),
        expected.map(str::to_owned).map_err(str::to_owned)
    );
}

#[test]
fn what_cannot_be_had_is_refused() {
    let name = Err("name is not 1 to 40 small letters, digits and dashes");
    check(|it| it.name = Some("../x".to_owned()), name);
    check(|it| it.name = Some(String::new()), name);
    let path = Err("project is not an absolute path");
    check(|it| it.project = "app".to_owned(), path);
    let empty = Err("command is empty or too long");
    check(|it| it.command = Some(" \n".to_owned()), empty);
    check(|it| it.command = Some("x".repeat(20_000)), empty);
    let nul = Err("command holds a NUL character");
    check(|it| it.command = Some("a\0b".to_owned()), nul);
    let blocked = Err("command is one of the blocked commands");
    check(
        |it| it.command = Some("sudo rm -rf / --no-preserve-root".to_owned()),
        blocked,
    );
}

#[test]
fn a_sandbox_has_a_name_whether_one_is_given_or_not() {
    check(|_| (), Ok("default"));
    check(|it| it.name = Some("web-2".to_owned()), Ok("web-2"));
    check(
        |it| it.command = Some("make serve".to_owned()),
        Ok("default"),
    );
}

#[test]
fn names_are_kept_apart_by_project() {
    assert_eq!(id_of("/app", "default"), id_of("/app", "default"));
    assert_ne!(id_of("/app", "default"), id_of("/other", "default"));
    assert_ne!(id_of("/app", "default"), id_of("/app", "web"));
}
