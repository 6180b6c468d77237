//! Writes the tables of `docs/api.md` anew, from the OpenAPI document. Started in the repository's root.

use std::error::Error;
use std::fs;

use config::contract::openapi::{self, markdown};

fn main() -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(DOCUMENT)?;
    let (before, rest) = text
        .split_once(BEGIN)
        .ok_or("the tables have no beginning")?;
    let (_, after) = rest.split_once(END).ok_or("the tables have no end")?;
    let tables = markdown::tables(&openapi::document(env!("CARGO_PKG_VERSION")));
    fs::write(DOCUMENT, format!("{before}{BEGIN}\n{tables}{END}{after}"))?;
    Ok(())
}

const DOCUMENT: &str = "docs/api.md";
const BEGIN: &str = "<!-- generated: make docs -->";
const END: &str = "<!-- end of what is generated -->";
