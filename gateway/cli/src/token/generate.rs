//! `loki enterprise token generate`: makes a token and shows it once.

use std::fs;
use std::path::PathBuf;

use ::config::address::Network;
use ::config::contract::scope::{Role, Scopes};
use ::config::rate::Rate;
use gateway::audit::record::Outcome;
use gateway::tokens::acknowledge::{self, Awaited};
use gateway::tokens::bounds::{Bounds, ENTRIES_MAX, ProjectPath};
use gateway::tokens::change::Change;
use gateway::tokens::format::FreshToken;
use gateway::tokens::record::{
    ExpiryDays, Permission, TEXT_CHARACTERS_MAX, TokenName, TokenRecord, Wanted,
};
use gateway::tokens::view::TokenView;
use serde::Serialize;

use super::record::{About, Recorded};
use crate::context::{Context, Offline};
use crate::failure::Failure;
use crate::{clock, output};

const EXAMPLES: &str = "\
Examples:
  loki enterprise token generate my-token
  loki enterprise token generate ci-bot --scopes \"read,write\" --expires 30
  loki enterprise token generate dashboard --role viewer
  loki enterprise token generate admin-bot --scopes \"*\" --expires 90
  loki enterprise token generate runner --role operator --allow-from 10.0.0.0/8 \\
      --rate-limit 600/m --project ~/projects/my-app

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
    /// Accept it from this address or range alone; may be repeated
    #[arg(long, value_name = "CIDR")]
    allow_from: Vec<Network>,
    /// How often it may be used, such as 10/s, 600/m or 10000/h [default: as everybody]
    #[arg(long, value_name = "RATE")]
    rate_limit: Option<Rate>,
    /// Bind it to this project's folder; may be repeated [default: all projects]
    #[arg(long, value_name = "PATH")]
    project: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Generated<'a> {
    #[serde(flatten)]
    shown: TokenView,
    token: &'a str,
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = wanted(context, arguments)?;
    let offline = context.offline()?;
    let user = context.user();
    let (token, record) = make(&offline, &user, wanted)?;
    warn_without_authentication(context);
    if arguments.json {
        return show_json(&token, &record);
    }
    output::raw(&announcement("generated", &record, token.raw().expose()))
}

/// Prints a token and its record as JSON.
pub(super) fn show_json(token: &FreshToken, record: &TokenRecord) -> Result<(), Failure> {
    output::json(&Generated {
        shown: TokenView::new(record, None, clock::now()),
        token: token.raw().expose(),
    })
}

fn wanted(context: &Context, arguments: &Arguments) -> Result<Wanted, Failure> {
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
        bounds: bounds(context, arguments)?,
    })
}

fn bounds(context: &Context, arguments: &Arguments) -> Result<Bounds, Failure> {
    if arguments.allow_from.len() > ENTRIES_MAX || arguments.project.len() > ENTRIES_MAX {
        return Err(Failure::usage(format!(
            "a token may be bound to {ENTRIES_MAX} networks and {ENTRIES_MAX} projects"
        )));
    }
    let path = |folder: &PathBuf| -> Result<ProjectPath, Failure> {
        let whole = fs::canonicalize(context.directory().join(folder))
            .map_err(|error| Failure::io("find the project", folder, &error))?;
        let text = whole
            .to_str()
            .ok_or_else(|| Failure::usage("a project's path must be UTF-8"))?;
        text.parse().map_err(Failure::usage)
    };
    let projects: Vec<ProjectPath> = arguments
        .project
        .iter()
        .map(path)
        .collect::<Result<_, _>>()?;
    Ok(Bounds {
        networks: arguments.allow_from.clone(),
        rate: arguments.rate_limit,
        projects: (!projects.is_empty()).then_some(projects),
    })
}

/// Makes a token, durably recorded before and after.
pub(crate) fn make(
    offline: &Offline,
    user: &str,
    wanted: Wanted,
) -> Result<(FreshToken, TokenRecord), Failure> {
    let mut change = Change::begin(&offline.home)?;
    let (token, record) = change.add(wanted, user, clock::now())?;
    let recorded = Recorded::decide(offline, "token.generate", user, About::token(&record))?;
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
pub(crate) fn announcement(done: &str, record: &TokenRecord, token: &str) -> String {
    let mut text = format!(
        "Token {done} successfully!\nName: {}\nID: {}\nToken: {token}\nScopes: {}\n",
        record.name,
        record.id,
        record.shown_scopes()
    );
    if let Some(expiry) = record.expires_at {
        text.push_str(&format!("Expires: {}\n", expiry.date_naive()));
    }
    let bounds = &record.bounds;
    let joined = |entries: Vec<String>| entries.join(", ");
    if !bounds.networks.is_empty() {
        let networks = bounds.networks.iter().map(ToString::to_string).collect();
        text.push_str(&format!("Accepted from: {}\n", joined(networks)));
    }
    if let Some(rate) = bounds.rate {
        text.push_str(&format!("Rate limit: {rate}\n"));
    }
    if let Some(projects) = &bounds.projects {
        let projects = projects
            .iter()
            .map(|path| output::visible(path.as_str()))
            .collect();
        text.push_str(&format!("Projects: {}\n", joined(projects)));
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
    use gateway::tokens::bounds::Bounds;
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
            bounds: Bounds::default(),
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
            bounds: Bounds::default(),
            superseded_by: None,
            federated: None,
        };
        let head = "Token generated successfully!\nName: ci-bot\nID: tok-abc12345\nToken: loki_x\nScopes: read, write\n";
        let tail = "IMPORTANT: Save this token - it won't be shown again!\n";
        assert_eq!(
            announcement("generated", &record, "loki_x"),
            format!("{head}Expires: 2026-03-02\n{tail}")
        );
        record.expires_at = None;
        assert_eq!(
            announcement("generated", &record, "loki_x"),
            format!("{head}{tail}")
        );
    }
}
