mod door;
mod learnings;
mod memory;
mod projects;
mod refusals;
mod sessions;

use super::{HANDLERS, OPERATIONS, Owner};

#[test]
fn every_operation_of_the_runtime_has_a_handler_and_every_handler_an_operation() {
    let rows: Vec<&str> = OPERATIONS
        .iter()
        .filter(|row| row.owner == Owner::Runtime)
        .map(|row| row.name)
        .collect();
    let mut handlers: Vec<&str> = HANDLERS.iter().map(|(name, _)| *name).collect();
    handlers.sort_by_key(|name| rows.iter().position(|row| row == name));
    assert_eq!(handlers, rows);
}
