//! Prints how long 100,000 tokens take to load and to be found, and how long one more takes.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::Instant;

use chrono::{DateTime, Utc};
use config::contract::id::TokenId;
use config::home::Home;
use config::private;
use gateway::tokens::bounds::Bounds;
use gateway::tokens::change::Change;
use gateway::tokens::format::FreshToken;
use gateway::tokens::index::Index;
use gateway::tokens::record::{Permission, TokenRecord, Wanted};

const TOKENS: u32 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let home = Home::new(directory.path().join(".loki"));
    let now = DateTime::<Utc>::UNIX_EPOCH;
    let mut made = Vec::new();
    let mut records = Vec::new();
    for number in 0..TOKENS {
        let token = FreshToken::generate()?;
        records.push(serde_json::to_string(&record(number, &token, now)?)?);
        made.push(token);
    }
    let text = format!(
        "{{\"version\":1,\"tokens\":[\n{}\n]}}\n",
        records.join(",\n")
    );
    private::create_closed_directory(&home.dashboard())?;
    private::replace_file(&home.tokens(), text.as_bytes())?;

    let begin = Instant::now();
    let index = Index::load(&home)?;
    println!(
        "load {TOKENS} tokens ({} bytes): {:?}",
        text.len(),
        begin.elapsed()
    );

    let begin = Instant::now();
    for token in &made {
        index.find(&token.raw(), now)?;
    }
    println!(
        "find one of {TOKENS} tokens: {:?}",
        begin.elapsed() / TOKENS
    );

    let begin = Instant::now();
    let mut change = Change::begin(&home)?;
    let wanted = Wanted {
        name: "one-more".parse()?,
        permission: Permission::new(None, None)?,
        expiry: None,
        description: None,
        bounds: Bounds::default(),
    };
    change.add(wanted, "local:bench", now)?;
    change.commit()?;
    println!("add one to {TOKENS} tokens: {:?}", begin.elapsed());
    Ok(())
}

fn record(
    number: u32,
    token: &FreshToken,
    now: DateTime<Utc>,
) -> Result<TokenRecord, Box<dyn std::error::Error>> {
    let id = format!("tok-{number:08}").parse::<TokenId>()?;
    Ok(TokenRecord {
        id,
        name: format!("bot-{number}").parse()?,
        sha256: token.raw().digest(),
        scopes: Permission::new(None, None)?.scopes,
        role: None,
        created_at: now,
        created_by: "local:bench".to_owned(),
        expires_at: None,
        revoked_at: None,
        revoked_by: None,
        description: None,
        bounds: Bounds::default(),
        superseded_by: None,
        federated: None,
    })
}
