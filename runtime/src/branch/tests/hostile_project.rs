//! Projects whose repository is made to start programs, or to lead out of itself.

use std::os::unix::fs::symlink;

use super::*;

/// Plants something in a project, runs a whole session on it, and asserts that nothing was started.
async fn check(plant: impl FnOnce(&Scene)) -> Scene {
    let scene = Scene::new();
    scene.write("file.txt", "text\n");
    scene.commit("second");
    plant(&scene);
    let before = scene.portrait();
    scene.assert_no_trap_sprung();
    let (workspace, _) = work(&scene, "echo x > new.txt; echo more >> file.txt").await;
    let hand_off = workspace.hand_over(Protection::On).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.note),
        (HandOffPlace::Project, None)
    );
    assert_handed_over(&scene, &workspace, &before);
    scene
}

/// Plants a trap and has a setting name it.
async fn check_setting(settings: &[&str]) {
    check(|scene| {
        scene.write_trap(".git/trap");
        let trap = scene.project_path().join(".git/trap");
        for setting in settings {
            let value = trap.to_str().unwrap();
            scene.git(&["config", "--add", setting, value]);
        }
    })
    .await;
}

#[tokio::test]
async fn hooks_are_not_started() {
    check(|scene| {
        for hook in [
            "post-checkout",
            "post-merge",
            "post-rewrite",
            "pre-auto-gc",
            "pre-commit",
            "post-index-change",
            "reference-transaction",
            "update",
            "pre-receive",
            "post-receive",
            "post-update",
            "proc-receive",
        ] {
            scene.write_trap(&format!(".git/hooks/{hook}"));
        }
    })
    .await;
}

#[tokio::test]
async fn settings_that_name_programs_start_none() {
    check_setting(&["core.fsmonitor"]).await;
    check_setting(&["core.sshCommand", "core.gitProxy", "core.askPass"]).await;
    check_setting(&["core.pager", "core.editor", "core.alternateRefsCommand"]).await;
    check_setting(&[
        "uploadpack.packObjectsHook",
        "gpg.program",
        "credential.helper",
    ])
    .await;
    check_setting(&["alias.fetch", "alias.status", "alias.rev-parse"]).await;
    check(|scene| {
        scene.write_trap(".git/hooks-elsewhere/reference-transaction");
        let hooks = scene.project_path().join(".git/hooks-elsewhere");
        scene.git(&["config", "core.hooksPath", hooks.to_str().unwrap()]);
    })
    .await;
}

#[tokio::test]
async fn filters_and_drivers_are_not_started() {
    check(|scene| {
        scene.write_trap(".git/trap");
        let trap = scene.project_path().join(".git/trap");
        scene.write(".gitattributes", "*.txt filter=x diff=x merge=x\n");
        scene.commit("attributes");
        for setting in [
            "filter.x.clean",
            "filter.x.smudge",
            "filter.x.process",
            "diff.x.textconv",
            "diff.x.command",
            "diff.external",
            "merge.x.driver",
        ] {
            scene.git(&["config", setting, trap.to_str().unwrap()]);
        }
        scene.git(&["config", "filter.x.required", "true"]);
        // A file whose time has changed makes git look at its content again.
        scene.write("file.txt", "text\n");
    })
    .await;
}

#[tokio::test]
async fn included_settings_start_nothing() {
    check(|scene| {
        scene.write_trap(".git/trap");
        let trap = scene.project_path().join(".git/trap");
        let text = format!(
            "[core]\n\tfsmonitor = {trap}\n\tsshCommand = {trap}\n[protocol]\n\tallow = always\n[protocol \"ext\"]\n\tallow = always\n",
            trap = trap.display()
        );
        scene.write(".git/included", &text);
        scene.git(&["config", "include.path", "included"]);
    })
    .await;
}

#[tokio::test]
async fn a_url_rewritten_to_a_program_fails() {
    let scene = Scene::new();
    scene.write_trap(".git/trap");
    let path = scene.project_path();
    let url = format!("url.ext::{}.insteadOf", path.join(".git/trap").display());
    scene.git(&["config", &url, "/"]);
    scene.git(&["config", "protocol.ext.allow", "always"]);
    let before = scene.portrait();
    let (workspace, _) = work(&scene, "echo x > new").await;
    let hand_off = workspace.hand_over(Protection::On).await.unwrap();
    assert_eq!(hand_off.place, HandOffPlace::Runtime);
    assert_eq!(scene.portrait(), before);
    scene.assert_no_trap_sprung();
}

#[tokio::test]
async fn tracked_links_and_submodules_lead_nowhere() {
    let scene = check(|scene| {
        symlink("/etc", scene.project_path().join(".loki")).unwrap();
        symlink(scene.canary(), scene.project_path().join("new.txt")).unwrap();
        let modules = "[submodule \"s\"]\n\tpath = s\n\turl = https://example.invalid/s\n";
        scene.write(".gitmodules", modules);
        scene.git(&["add", "--all"]);
        let nothing = "160000,1234567890123456789012345678901234567890,s";
        scene.git(&["update-index", "--add", "--cacheinfo", nothing]);
        scene.git(&["commit", "--quiet", "-m", "links"]);
        scene.git(&["config", "submodule.recurse", "true"]);
        scene.git(&["rm", "--quiet", "--cached", "new.txt"]);
        scene.git(&["commit", "--quiet", "-m", "unlinked"]);
        std::fs::remove_file(scene.project_path().join("new.txt")).unwrap();
    })
    .await;
    assert!(!scene.session(1).workspace().join("s/.git").exists());
}

#[tokio::test]
async fn a_submodule_that_names_a_program_is_refused_with_the_whole_project() {
    let scene = Scene::new();
    scene.write_trap(".git/trap");
    let trap = scene.project_path().join(".git/trap");
    let modules = format!(
        "[submodule \"s\"]\n\tpath = s\n\turl = ext::{}\n\tupdate = !{0}\n",
        trap.display()
    );
    scene.write(".gitmodules", &modules);
    scene.commit("modules");
    let (sandbox, folder) = (scene.sandbox(), scene.session(1));
    let found = Workspace::prepare(&sandbox, &folder, &scene.project(), moment()).await;
    let said = found.unwrap_err().to_string();
    assert!(said.starts_with("cannot clone the project: "), "{said}");
    assert!(said.contains("gitmodulesUpdate"), "{said}");
    scene.assert_no_trap_sprung();
}

#[tokio::test]
async fn branches_named_like_options_are_names() {
    check(|scene| {
        let head = scene.git(&["rev-parse", "HEAD"]);
        for name in ["--upload-pack=touch canary", "-x"] {
            let name = name.replace(' ', "\u{a0}");
            scene.git(&["update-ref", &format!("refs/heads/{name}"), &head]);
        }
        scene.git(&["symbolic-ref", "HEAD", "refs/heads/-x"]);
    })
    .await;
}

#[tokio::test]
async fn a_nested_repository_is_not_entered() {
    check(|scene| {
        let nested = scene.project_path().join("nested");
        std::fs::create_dir(&nested).unwrap();
        git_in(&nested, &["init", "--quiet"]);
        scene.write_trap("nested/.git/trap");
        let trap = nested.join(".git/trap");
        git_in(
            &nested,
            &["config", "core.fsmonitor", trap.to_str().unwrap()],
        );
    })
    .await;
}
