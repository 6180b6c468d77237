//! Builds the runtime anew when a migration of its store changes.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
