//! `loki enterprise token generate`: makes a token and shows it once.

use ::config::contract::scope::{Role, Scopes};
use gateway::audit::record::Outcome;
use gateway::tokens::acknowledge::{self, Awaited};
use gateway::tokens::change::Change;
use gateway::tokens::format::FreshToken;
use gateway::tokens::record::{
    ExpiryDays, Permission, TEXT_CHARACTERS_MAX, TokenName, TokenRecord, Wanted,
};
use serde::Serialize;

use super::list::Shown;
use super::record::Recorded;
use crate::context::{Context, Offline};
use crate::failure::Failure;
use crate::{clock, output};

const EXAMPLES: &str = "\
Examples:
  loki enterprise token generate my-token
  loki enterprise token generate ci-bot --scopes \"read,write\" --expires 30
  loki enterprise token generate dashboard --role viewer
  loki enterprise token generate admin-bot --scopes \"*\" --expires 90

Scopes: * control write approve read audit. Roles: admin (*), operator (control, write, read),
viewer (read), auditor (read, audit). Without either, a token may read.";

/// Makes a token and shows it, this once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Its name, unique among active tokens
    name: TokenName,
    /// What it may do, separated by commas
    #[arg(short, long, value_name = "LIST")]
    scopes: Option<Scopes>,
    /// What it may do, by role
    #[arg(short, long)]
    role: Option<Role>,
    /// Days until it is refused, 1 to 3650 [default: never]
    #[arg(short, long, value_name = "DAYS", allow_hyphen_values = true)]
    expires: Option<ExpiryDays>,
    /// What it is for
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Generated<'a> {
    #[serde(flatten)]
    shown: Shown<'a>,
    token: &'a str,
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = wanted(arguments)?;
    let offline = context.offline()?;
    let user = context.user();
    let (token, record) = make(&offline, &user, wanted)?;
    warn_without_authentication(context);
    if arguments.json {
        return output::json(&Generated {
            shown: Shown::new(&record, clock::now()),
            token: token.raw().expose(),
        });
    }
    output::raw(&announcement(&record, token.raw().expose()))
}

fn wanted(arguments: &Arguments) -> Result<Wanted, Failure> {
    let permission = Permission::new(arguments.scopes, arguments.role).map_err(Failure::usage)?;
    if let Some(description) = &arguments.description
        && (description.chars().count() > TEXT_CHARACTERS_MAX
            || description.chars().any(char::is_control))
    {
        return Err(Failure::usage(format!(
            "a description must be one line of at most {TEXT_CHARACTERS_MAX} characters"
        )));
    }
    Ok(Wanted {
        name: arguments.name.clone(),
        permission,
        expiry: arguments.expires,
        description: arguments.description.clone(),
    })
}

fn make(
    offline: &Offline,
    user: &str,
    wanted: Wanted,
) -> Result<(FreshToken, TokenRecord), Failure> {
    let mut change = Change::begin(&offline.home)?;
    let (token, record) = change.add(wanted, user, clock::now())?;
    let recorded = Recorded::decide(offline, "token.generate", user, &record)?;
    let committed = change.commit();
    let outcome = match &committed {
        Ok(_) => recorded.end(Outcome::Done, None),
        Err(error) => recorded.end(Outcome::Failed, Some(error.to_string())),
    };
    let generation = committed?;
    if let Err(why) = outcome {
        return Err(Failure::failed(format!(
            "the token is not shown, because the audit trail cannot be written: {why}"
        ))
        .fix(format!("loki enterprise token delete {}", record.id)));
    }
    if let Err(silent) = acknowledge::wait(&offline.home, Awaited::Addition(generation)) {
        output::warn(&format!("{silent}: it may not know the token yet"));
    }
    Ok((token, record))
}

/// Returns the lines that operators and scripts know.
fn announcement(record: &TokenRecord, token: &str) -> String {
    let mut text = format!(
        "Token generated successfully!\nName: {}\nID: {}\nToken: {token}\nScopes: {}\n",
        record.name,
        record.id,
        record.shown_scopes()
    );
    if let Some(expiry) = record.expires_at {
        text.push_str(&format!("Expires: {}\n", expiry.date_naive()));
    }
    text.push_str("IMPORTANT: Save this token - it won't be shown again!\n");
    text
}

fn warn_without_authentication(context: &Context) {
    let required = context
        .gateway_settings(context.sources())
        .is_ok_and(|loaded| loaded.settings.opaque_tokens);
    if !required {
        output::warn(
            "LOKI_ENTERPRISE_AUTH is not on here: a gateway started from this environment accepts \
             no tokens of this kind",
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ::config::home::Home;
    use ::config::private;
    use chrono::{DateTime, Utc};
    use gateway::audit::query::{self, Query};
    use gateway::audit::record::Phase;
    use gateway::tokens::format::FreshToken;
    use gateway::tokens::record::{ExpiryDays, Permission, TokenRecord, Wanted};

    use super::{announcement, make};
    use crate::context::Offline;

    #[test]
    fn without_a_record_nothing_changes() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let home = Home::new(directory.path().join(".loki"));
        private::create_closed_directory(&home.dashboard()).expect("directory");
        // A file where the folder should be stands for a disk that takes no records.
        fs::write(home.audit(), "").expect("write");
        let offline = Offline {
            home,
            audit_enabled: true,
        };
        let wanted = || Wanted {
            name: "ci-bot".parse().expect("a name"),
            permission: Permission::new(None, None).expect("agreement"),
            expiry: None,
            description: None,
        };
        let refused = make(&offline, "local:test", wanted()).expect_err("no record");
        assert!(
            refused.what().starts_with("nothing was changed"),
            "{refused:?}"
        );
        assert!(!offline.home.tokens().exists());

        fs::remove_file(offline.home.audit()).expect("removed");
        let (_, record) = make(&offline, "local:test", wanted()).expect("a token");
        let page = query::query(&offline.home, &Query::default()).expect("records");
        let told: Vec<_> = page
            .entries
            .iter()
            .map(|entry| {
                (
                    entry.phase,
                    entry.action.as_str(),
                    entry.user.as_str(),
                    entry.resource.clone(),
                )
            })
            .collect();
        let resource = format!("token:{}", record.id);
        assert_eq!(
            told,
            [
                (
                    Phase::Outcome,
                    "token.generate",
                    "local:test",
                    resource.clone()
                ),
                (Phase::Decision, "token.generate", "local:test", resource),
            ]
        );
    }

    #[test]
    fn the_announcement_has_the_documented_lines() {
        let created_at: DateTime<Utc> = "2026-01-31T12:00:00Z".parse().expect("a time");
        let token = FreshToken::generate().expect("randomness");
        let mut record = TokenRecord {
            id: "tok-abc12345".parse().expect("an id"),
            name: "ci-bot".parse().expect("a name"),
            sha256: token.raw().digest(),
            scopes: Permission::new(Some("read,write".parse().expect("scopes")), None)
                .expect("agreement")
                .scopes,
            role: None,
            created_at,
            created_by: "local:test".to_owned(),
            expires_at: Some("30".parse::<ExpiryDays>().expect("days").from(created_at)),
            revoked_at: None,
            revoked_by: None,
            description: None,
        };
        let head = "Token generated successfully!\nName: ci-bot\nID: tok-abc12345\nToken: loki_x\nScopes: read, write\n";
        let tail = "IMPORTANT: Save this token - it won't be shown again!\n";
        assert_eq!(
            announcement(&record, "loki_x"),
            format!("{head}Expires: 2026-03-02\n{tail}")
        );
        record.expires_at = None;
        assert_eq!(announcement(&record, "loki_x"), format!("{head}{tail}"));
    }
}
