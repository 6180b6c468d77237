//! `loki enterprise audit verify` and `keys`: what can be proven about the audit trail.

use std::fs;
use std::path::PathBuf;

use gateway::audit::PublicKey;
use gateway::audit::verify::{self, Report, Trust};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// Proves that no record was changed or removed, and says against whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loki enterprise audit verify
  loki enterprise audit verify --public-key audit-signing.pub --checkpoint kept.json
  LOKI_DATA_DIR=/mnt/copy loki enterprise audit verify --public-key audit-signing.pub")]
pub(super) struct VerifyArguments {
    /// Rely on this public key (PEM) alone, not on the keys of this host
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A checkpoint's line that was kept elsewhere: it must be in the trail
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows the key that checkpoints are checked with.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki enterprise audit keys --json")]
pub(super) struct KeysArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Checks the trail; ends with 1 if anything does not fit.
pub(super) fn verify(context: &Context, arguments: &VerifyArguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let mut trust = match &arguments.public_key {
        Some(path) => Trust::in_public_key(public_key(path)?),
        None => Trust::in_keys_of(&home).map_err(|error| {
            Failure::failed(error).fix(
                "name the public key with --public-key; a gateway makes the keys when it starts",
            )
        })?,
    };
    if let Some(path) = &arguments.checkpoint {
        let line = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
        trust = trust.with_kept(&line).ok_or_else(|| {
            Failure::failed(format!("{} is no checkpoint", path.display()))
                .fix("keep the whole line of an audit.checkpoint record")
        })?;
    }
    let report = verify::verify(&home, &trust).map_err(Failure::failed)?;
    if arguments.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    if report.valid {
        Ok(())
    } else {
        Err(Failure::said(Exit::Failed))
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    let verdict = if report.valid { "VALID" } else { "NOT VALID" };
    output::line(&format!(
        "{verdict}: {} records in {} files of {}",
        report.records, report.files, report.directory
    ))?;
    if let Some(checkpoint) = &report.last_checkpoint {
        output::line(&format!(
            "Newest checkpoint: {} of {} ({} line {}), key {}",
            checkpoint.seq,
            output::visible(&checkpoint.timestamp),
            checkpoint.file,
            checkpoint.line,
            checkpoint.key_id
        ))?;
    }
    for finding in &report.findings {
        output::line(&format!(
            "  {} line {}: {}",
            finding.file,
            finding.line,
            output::visible(&finding.text)
        ))?;
    }
    let more = report.findings_total - report.findings.len() as u64;
    if more > 0 {
        output::line(&format!("  and {more} more"))?;
    }
    for note in &report.notes {
        output::line(&format!("Note: {note}"))?;
    }
    for proven in &report.proven {
        output::line(&format!("Proven: {proven}"))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Keys {
    key_id: String,
    public_key: String,
    public_key_file: PathBuf,
    last_checkpoint_file: PathBuf,
}

/// Shows the public key, and where it and the newest checkpoint lie.
pub(super) fn keys(context: &Context, arguments: &KeysArguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let path = home.audit_public_key();
    let key =
        public_key(&path).map_err(|failure| failure.fix("start a gateway: it makes the keys"))?;
    let keys = Keys {
        key_id: key.id(),
        public_key: key.pem(),
        public_key_file: path,
        last_checkpoint_file: home.audit_checkpoint(),
    };
    if arguments.json {
        return output::json(&keys);
    }
    output::line(&format!("Key:             {}", keys.key_id))?;
    output::line(&format!(
        "Public key:      {}",
        keys.public_key_file.display()
    ))?;
    output::line(&format!(
        "Last checkpoint: {}",
        keys.last_checkpoint_file.display()
    ))?;
    output::raw(&keys.public_key)
}

fn public_key(path: &std::path::Path) -> Result<PublicKey, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    PublicKey::from_pem(&text).ok_or_else(|| {
        Failure::failed(format!(
            "{} is no Ed25519 public key in PEM",
            path.display()
        ))
    })
}
