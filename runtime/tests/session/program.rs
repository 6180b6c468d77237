//! The program itself: its mistakes, its exit codes, its single instance.

use crate::deployment::Deployment;

#[test]
fn bad_settings_are_all_told_at_once_with_exit_code_64() {
    let deployment = Deployment::prepare("true", "sokcet = \"x\"\n[sessions]\nlive_max = 0\n");
    let output = deployment.run_to_end();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("sokcet") && said.contains("sessions.live_max"),
        "{said}"
    );
}

#[test]
fn a_second_runtime_of_a_data_directory_ends_with_the_reason() {
    let deployment = Deployment::start("true", "");
    let output = deployment.run_to_end();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("another runtime has data directory"),
        "{said}"
    );
}
