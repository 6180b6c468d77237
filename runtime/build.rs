//! Builds the runtime anew when a migration of its store changes.

#[expect(
    clippy::print_stdout,
    reason = "cargo reads what a build script prints"
)]
fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
