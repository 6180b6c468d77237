use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::*;
use crate::scene::{Scene, moment};

fn entry(action: &str) -> Entry {
    let facts = json!({"message": "Add authentication module", "files_changed": 3, "ratio": 0.1});
    Entry {
        action: action.to_owned(),
        agent: "development".to_owned(),
        details: facts.as_object().cloned().unwrap(),
        request_id: None,
    }
}

fn open(scene: &Scene) -> Result<AgentAudit, AgentAuditError> {
    AgentAudit::open(&scene.session(1), &scene.project())
}

/// Appends one entry in a project whose view was spoilt, and returns the note. The second entry must
/// be silent, and both must be in the session's own record.
#[track_caller]
fn note(scene: &Scene) -> String {
    let mut audit = open(scene).unwrap();
    let note = audit.append(entry("one"), moment()).unwrap().unwrap();
    assert_eq!(audit.append(entry("two"), moment()).unwrap(), None);
    assert_eq!(verify(&scene.session(1).agent_audit()).unwrap(), 2);
    note
}

#[test]
fn links_in_the_project_are_never_followed() {
    let outside = |scene: &Scene| {
        let outside = scene.path("outside");
        fs::create_dir_all(outside.join("logs")).unwrap();
        fs::write(outside.join("file"), "mine\n").unwrap();
        outside
    };
    let untouched = |outside: &Path| {
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "mine\n");
        assert_eq!(fs::read_dir(outside.join("logs")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(outside).unwrap().count(), 2);
    };

    let scene = Scene::new();
    let away = outside(&scene);
    symlink(&away, scene.project_path().join(".loki")).unwrap();
    assert!(note(&scene).contains("cannot open .loki:"));
    untouched(&away);

    let scene = Scene::new();
    let away = outside(&scene);
    fs::create_dir(scene.project_path().join(".loki")).unwrap();
    symlink(&away, scene.project_path().join(".loki/logs")).unwrap();
    assert!(note(&scene).contains("cannot open .loki/logs:"));
    untouched(&away);

    for hard in [false, true] {
        let scene = Scene::new();
        let away = outside(&scene);
        let logs = scene.project_path().join(".loki/logs");
        fs::create_dir_all(&logs).unwrap();
        let file = logs.join("agent-audit.jsonl");
        if hard {
            fs::hard_link(away.join("file"), file).unwrap();
        } else {
            symlink(away.join("file"), file).unwrap();
        }
        assert!(note(&scene).contains("cannot open .loki/logs/agent-audit.jsonl:"));
        untouched(&away);
    }
}

#[test]
fn a_damaged_record_is_refused() {
    let scene = Scene::new();
    let path = scene.session(1).agent_audit();
    let mut audit = open(&scene).unwrap();
    for action in ["one", "two", "three"] {
        audit.append(entry(action), moment()).unwrap();
    }
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let damages = [
        (whole.replace("\"two\"", "\"tow\""), 2),
        (whole.replace("0.1", "0.10"), 1),
        (format!("{}\n{}\n", lines[0], lines[2]), 2),
        (format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]), 1),
        (whole.replace("sess-", "sess-0").replace("01", "0"), 1),
    ];
    for (text, number) in damages {
        fs::write(&path, text).unwrap();
        let expected = format!(
            "cannot continue agent audit {}: line {number} is damaged; fix: keep the file as evidence under another name",
            path.display()
        );
        assert_eq!(open(&scene).unwrap_err().to_string(), expected);
    }
}

#[test]
fn lines_have_the_seeds_shape_and_are_shown_in_the_project() {
    let scene = Scene::new();
    let before = scene.portrait();
    let mut audit = open(&scene).unwrap();
    assert_eq!(audit.append(entry("git_commit"), moment()).unwrap(), None);
    let path = scene.session(1).agent_audit();
    let line = fs::read_to_string(&path).unwrap();
    let start = concat!(
        r#"{"timestamp":"2026-02-12T18:30:00Z","action":"git_commit","agent":"development","#,
        r#""details":{"files_changed":3,"message":"Add authentication module","ratio":0.1},"#,
        r#""session":"sess-111111111111","request_id":null,"seq":1,"hash":""#,
    );
    assert_eq!(line.get(..start.len()), Some(start));
    assert_eq!(line.len(), start.len() + 64 + "\"}\n".len());

    let shown = scene.project_path().join(".loki/logs/agent-audit.jsonl");
    assert_eq!(fs::read_to_string(&shown).unwrap(), line);
    for path in [&path, &shown] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(scene.portrait(), before);
    let seen = scene.git(&["status", "--porcelain"]);
    assert_eq!(seen, "", "git sees nothing of the view");
}

#[test]
fn a_record_goes_on_after_a_restart_and_a_torn_line() {
    let scene = Scene::new();
    let path = scene.session(1).agent_audit();
    open(&scene)
        .unwrap()
        .append(entry("one"), moment())
        .unwrap();
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"timestamp\":\"2026");
    fs::write(&path, torn).unwrap();
    let mut audit = open(&scene).unwrap();
    assert_eq!(audit.commit(), None);
    let mut commit = entry("git_commit");
    commit.details.insert("commit".to_owned(), json!("aa"));
    audit.append(commit, moment()).unwrap();
    assert_eq!(audit.commit(), Some("aa"));
    audit.append(entry("two"), moment()).unwrap();
    assert_eq!(verify(&path).unwrap(), 3);
    assert_eq!(open(&scene).unwrap().commit(), Some("aa"));
}

#[test]
fn what_an_earlier_run_could_not_show_any_more_is_shown_by_the_next() {
    let scene = Scene::new();
    let shown = scene.project_path().join(".loki/logs/agent-audit.jsonl");
    let mut audit = open(&scene).unwrap();
    for action in ["one", "two", "three"] {
        audit.append(entry(action), moment()).unwrap();
    }
    let whole = fs::read_to_string(&shown).unwrap();
    let ends: Vec<usize> = whole.match_indices('\n').map(|(end, _)| end + 1).collect();
    let other = whole.replace("sess-1", "sess-2");
    // Ended behind a line, within one, and before the first; and another session's lines stand between.
    for end in [ends[2], ends[1], ends[0], ends[1] + 9, 5, 0] {
        fs::write(&shown, &whole[..end]).unwrap();
        open(&scene).unwrap();
        assert_eq!(fs::read_to_string(&shown).unwrap(), whole, "{end}");
    }
    fs::write(&shown, format!("{}{other}", &whole[..ends[0]])).unwrap();
    open(&scene).unwrap();
    let expected = format!("{}{other}{}", &whole[..ends[0]], &whole[ends[0]..]);
    assert_eq!(fs::read_to_string(&shown).unwrap(), expected);
    // What somebody changed is not mended.
    let changed = whole[..ends[1]].replace("\"two\"", "\"tow\"");
    fs::write(&shown, &changed).unwrap();
    open(&scene).unwrap();
    assert_eq!(fs::read_to_string(&shown).unwrap(), changed);
}
