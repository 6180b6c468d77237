use std::os::unix::fs::symlink;

use super::*;
use crate::scene::{Scene, git_in};

#[track_caller]
fn check(scene: &Scene, path: &Path, expected: &str) {
    let found = Project::check(path, &[scene.root()], &scene.home);
    let found = found.unwrap_err().to_string();
    assert!(found.contains(expected), "{found:?} is not {expected:?}");
    assert!(found.contains("; fix: "), "{found:?} names no fix");
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let scene = Scene::new();
    let outside = scene.path("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, scene.root().join("link")).unwrap();
    fs::write(scene.root().join("file"), "").unwrap();
    fs::create_dir(scene.root().join("two\nlines")).unwrap();

    check(&scene, Path::new("demo"), "it is not absolute");
    check(&scene, &scene.root().join("none"), "No such file");
    check(&scene, &scene.root().join("file"), "it is not a folder");
    check(
        &scene,
        &scene.root().join("two\nlines"),
        "control character",
    );
    check(&scene, &outside, "outside the allowed folders");
    check(
        &scene,
        &scene.root().join("link"),
        "outside the allowed folders",
    );
    check(
        &scene,
        &scene.root().join("../outside"),
        "outside the allowed folders",
    );
    check(&scene, Path::new("/"), "outside the allowed folders");
    let nowhere = Project::check(&scene.project_path(), &[], &scene.home);
    assert!(nowhere.unwrap_err().to_string().contains("(none)"));
}

#[test]
fn projects_and_the_data_directory_keep_apart() {
    let scene = Scene::new();
    let all = [scene.path("")];
    let inside = scene.home.directory().join("inside");
    fs::create_dir(&inside).unwrap();
    for path in [scene.path(""), scene.home.directory().to_owned(), inside] {
        let found = Project::check(&path, &all, &scene.home);
        assert!(
            matches!(found, Err(ProjectError::Overlap { .. })),
            "{path:?}"
        );
    }
}

#[test]
fn what_is_no_whole_repository_is_refused() {
    let scene = Scene::new();
    let root = scene.root();
    let make = |name: &str| {
        let path = root.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    check(&scene, &make("plain"), "it is not a git repository");
    check(
        &scene,
        &make("demo/below"),
        "a folder inside a git repository",
    );

    let fresh = make("fresh");
    git_in(&fresh, &["init", "--quiet"]);
    check(&scene, &fresh, "it has no commit");

    let bare = make("bare");
    git_in(&bare, &["init", "--quiet", "--bare"]);
    check(&scene, &bare, "it is a bare repository");

    let tree = root.join("tree");
    scene.git(&["worktree", "add", "--quiet", tree.to_str().unwrap()]);
    check(&scene, &tree, "its .git is a file");

    let linked = make("linked");
    symlink(scene.project_path().join(".git"), linked.join(".git")).unwrap();
    check(&scene, &linked, "its .git is a symbolic link");

    let borrower = root.join("borrower");
    git_in(&root, &["clone", "--quiet", "--shared", "demo", "borrower"]);
    check(&scene, &borrower, "it borrows objects");

    let hollow = root.join("hollow");
    git_in(&root, &["clone", "--quiet", "demo", "hollow"]);
    fs::rename(hollow.join(".git/objects"), root.join("objects")).unwrap();
    symlink(root.join("objects"), hollow.join(".git/objects")).unwrap();
    check(&scene, &hollow, "its .git is not complete");

    let headless = root.join("headless");
    git_in(&root, &["clone", "--quiet", "demo", "headless"]);
    fs::remove_file(headless.join(".git/HEAD")).unwrap();
    symlink("/dev/zero", headless.join(".git/HEAD")).unwrap();
    check(&scene, &headless, "its .git/HEAD is no regular file");
}

#[test]
fn repositories_with_a_commit_are_accepted() {
    let scene = Scene::new();
    let link = scene.root().join("link");
    symlink(scene.project_path(), &link).unwrap();
    let whole = Project {
        directory: scene.project_path(),
        git_directory: scene.project_path().join(".git"),
    };
    let check = |path: &Path| Project::check(path, &[scene.root()], &scene.home);
    assert_eq!(check(&scene.project_path()), Ok(whole.clone()));
    assert_eq!(check(&link), Ok(whole.clone()));
    scene.git(&["pack-refs", "--all"]);
    assert_eq!(check(&scene.project_path()), Ok(whole.clone()));
    scene.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(check(&scene.project_path()), Ok(whole));
}
