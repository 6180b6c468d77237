//! `loki projects`: the registry of projects.

use std::path::PathBuf;

use ::config::contract::id::ProjectId;
use ::config::contract::registry::{
    DISCOVER_DEPTH_MAX, DiscoveredList, HealthList, ProjectHealth, ProjectList, ProjectView,
    RegisterProject, SyncReport,
};
use clap::Subcommand;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Registers projects and tells how they are.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Register(RegisterArguments),
    List(ListArguments),
    Remove(NamedArguments),
    Health(HealthArguments),
    Discover(DiscoverArguments),
    Sync(SyncArguments),
}

/// Registers a project, or changes the name or alias of a registered one.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "add",
    after_help = "Examples:\n  loki projects register ~/projects/my-app\n  loki projects add . --alias app"
)]
pub(crate) struct RegisterArguments {
    /// The project's folder
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Name for people [default: the folder's name]
    #[arg(short, long)]
    name: Option<String>,
    /// Short name in place of the id
    #[arg(short, long)]
    alias: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

/// Lists registered projects.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls", after_help = "Example:\n  loki projects list")]
pub(crate) struct ListArguments {
    #[command(flatten)]
    shared: Shared,
}

/// Takes a project out of the registry; its files and sessions stay.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "rm",
    after_help = "Example:\n  loki projects remove app"
)]
pub(crate) struct NamedArguments {
    /// Id, alias or folder
    project: String,
    #[command(flatten)]
    reach: Reach,
}

/// Checks the folder of one project, or of all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  loki projects health\n  loki projects health app")]
pub(crate) struct HealthArguments {
    /// Id, alias or folder [default: all]
    project: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

/// Finds folders that could be registered.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki projects discover --depth 5")]
pub(crate) struct DiscoverArguments {
    /// How many folders deep below the allowed roots
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(DISCOVER_DEPTH_MAX)))]
    depth: u32,
    #[command(flatten)]
    shared: Shared,
}

/// Brings the registry up to date with the disk.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki projects sync")]
pub(crate) struct SyncArguments {
    #[command(flatten)]
    shared: Shared,
}

/// What most of the commands take.
#[derive(Debug, clap::Args)]
struct Shared {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Register(arguments) => register(context, arguments),
        Command::List(arguments) => list(context, &arguments.shared),
        Command::Remove(arguments) => remove(context, &arguments),
        Command::Health(arguments) => health(context, &arguments),
        Command::Discover(arguments) => discover(context, &arguments),
        Command::Sync(arguments) => sync(context, &arguments.shared),
    }
}

fn register(context: &Context, arguments: RegisterArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.shared.reach)?;
    let request = RegisterProject {
        path: absolute(context, &arguments.path)?,
        name: arguments.name,
        alias: arguments.alias,
    };
    let project: ProjectView = client.post("/api/registry/projects", Some(&request))?;
    if arguments.shared.json {
        return output::json(&project);
    }
    output::line(&format!(
        "Registered {} ({})",
        output::visible(&project.path),
        project.id
    ))
}

fn list(context: &Context, shared: &Shared) -> Result<(), Failure> {
    let client = Client::new(context, &shared.reach)?;
    let mut list: ProjectList = client.get(&page(0))?;
    while (list.projects.len() as u64) < list.total {
        let mut next: ProjectList = client.get(&page(list.projects.len()))?;
        if next.projects.is_empty() {
            break;
        }
        list.projects.append(&mut next.projects);
    }
    if shared.json {
        return output::json(&list);
    }
    if list.projects.is_empty() {
        return output::line("No project is registered; loki projects discover finds some.");
    }
    let row = |project: &ProjectView| {
        vec![
            project.id.to_string(),
            output::visible(&project.name),
            output::visible(project.alias.as_deref().unwrap_or("-")),
            project.status.name().to_owned(),
            output::visible(&project.path),
        ]
    };
    let rows: Vec<_> = list.projects.iter().map(row).collect();
    output::table(&["ID", "NAME", "ALIAS", "STATUS", "PATH"], &rows)
}

fn page(offset: usize) -> String {
    format!("/api/registry/projects?limit=1000&offset={offset}")
}

fn remove(context: &Context, arguments: &NamedArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let project = find(context, &client, &arguments.project)?;
    client.delete(&format!("/api/registry/projects/{}", project.id))?;
    output::line(&format!(
        "Removed {} ({}); its files are untouched",
        output::visible(&project.path),
        project.id
    ))
}

fn health(context: &Context, arguments: &HealthArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.shared.reach)?;
    let list = match &arguments.project {
        Some(named) => {
            let id = find(context, &client, named)?.id;
            let one: ProjectHealth = client.get(&format!("/api/registry/projects/{id}/health"))?;
            HealthList {
                projects: vec![one],
            }
        }
        None => client.get("/api/registry/health")?,
    };
    if arguments.shared.json {
        return output::json(&list);
    }
    if list.projects.is_empty() {
        return output::line("No project is registered.");
    }
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let row = |project: &ProjectHealth| {
        vec![
            output::visible(&project.name),
            project.status.name().to_owned(),
            project.live_sessions.to_string(),
            yes(project.checks.git_exists),
            yes(project.checks.loki_dir_exists),
            yes(project.checks.prd_exists),
            output::visible(&project.path),
        ]
    };
    let rows: Vec<_> = list.projects.iter().map(row).collect();
    output::table(
        &["NAME", "STATUS", "LIVE", "GIT", "STATE", "PRD", "PATH"],
        &rows,
    )?;
    for reason in list.projects.iter().filter_map(|it| it.reason.as_deref()) {
        output::warn(&output::visible(reason));
    }
    Ok(())
}

fn discover(context: &Context, arguments: &DiscoverArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.shared.reach)?;
    let depth = arguments.depth;
    let list: DiscoveredList = client.get(&format!("/api/registry/discover?max_depth={depth}"))?;
    if arguments.shared.json {
        return output::json(&list);
    }
    if list.projects.is_empty() {
        output::line("Found no project below the allowed folders (projects.roots).")?;
    } else {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let rows: Vec<Vec<String>> = list
            .projects
            .iter()
            .map(|found| {
                vec![
                    output::visible(&found.name),
                    yes(found.registered),
                    yes(found.has_state),
                    yes(found.has_prd),
                    output::visible(&found.path),
                ]
            })
            .collect();
        output::table(&["NAME", "REGISTERED", "STATE", "PRD", "PATH"], &rows)?;
    }
    if list.cut {
        output::warn("the search ended at its bounds; there may be more");
    }
    Ok(())
}

fn sync(context: &Context, shared: &Shared) -> Result<(), Failure> {
    let client = Client::new(context, &shared.reach)?;
    let report: SyncReport = client.post("/api/registry/sync", None::<&()>)?;
    if shared.json {
        return output::json(&report);
    }
    output::line(&format!(
        "{} added, {} updated, {} missing, {} in all",
        report.added, report.updated, report.missing, report.total
    ))?;
    for why in &report.refused {
        output::warn(&output::visible(why));
    }
    Ok(())
}

/// Finds a project by its id, its alias, or its folder.
pub(crate) fn find(
    context: &Context,
    client: &Client,
    named: &str,
) -> Result<ProjectView, Failure> {
    let is_path = named.contains('/') || named.starts_with('.');
    if named.parse::<ProjectId>().is_ok() || !is_path {
        return client.get(&format!(
            "/api/registry/projects/{}",
            output::encoded(named)
        ));
    }
    // The folder of a project that is to be removed may be gone.
    let path = absolute(context, &PathBuf::from(named))
        .unwrap_or_else(|_| context.directory().join(named).display().to_string());
    let list: ProjectList = client.get(&format!(
        "/api/registry/projects?path={}",
        output::encoded(&path)
    ))?;
    let none = || Failure::failed(format!("there is no project {path:?}"));
    list.projects.into_iter().next().ok_or_else(none)
}

fn absolute(context: &Context, path: &std::path::Path) -> Result<String, Failure> {
    let folder = context.directory().join(path);
    folder
        .canonicalize()
        .map_err(|error| Failure::usage(format!("cannot use {}: {error}", folder.display())))?
        .into_os_string()
        .into_string()
        .map_err(|path| Failure::usage(format!("the path {} is not UTF-8", path.display())))
}
