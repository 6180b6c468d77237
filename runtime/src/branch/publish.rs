//! Publishing: the session's branch goes from the runtime's own repository to the project's remote,
//! and a pull request is made or brought up to date.
//!
//! Invariant: nothing but the session's branch is pushed, never by force; the credential goes to the
//! two programs that need it and to nobody else; where something is missing, the result says exactly
//! what to run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use config::private;

use super::git::Call;
use super::{BranchError, Workspace};
use crate::sandbox::{Confined, Finished, Sandbox};

/// Where a branch is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The address as the project has it.
    url: String,
    /// The branch that the project had checked out, without `refs/heads/`.
    base: String,
}

/// The credential of pushes and pull requests, and the hosts that may get it. Never shown.
#[derive(Clone, Default)]
pub struct Credential {
    token: Option<String>,
    hosts: Vec<String>,
}

/// What became of a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Whether the remote has the branch.
    pub is_pushed: bool,
    /// Address of the pull request.
    pub pull_request: Option<String>,
    /// What a person has to do.
    pub note: Option<String>,
}

impl Credential {
    /// Takes the token that is set, if any. No host gets it yet.
    #[must_use]
    pub fn new(token: Option<String>) -> Self {
        Self {
            token: token.filter(|token| !token.trim().is_empty()),
            hosts: Vec::new(),
        }
    }

    /// Lets these hosts, and no others, get the token.
    #[must_use]
    pub fn for_hosts(self, hosts: &[String]) -> Self {
        Self {
            hosts: hosts.to_vec(),
            ..self
        }
    }

    fn trusts(&self, host: &str) -> bool {
        self.hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(host))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential(hidden)")
    }
}

impl Remote {
    /// Says what to run to publish by hand.
    #[must_use]
    pub fn by_hand(&self, branch: &str) -> String {
        let base = &self.base;
        format!("git push -u origin {branch} && gh pr create --base {base} --head {branch} --fill")
    }

    /// Returns the address as the project has it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the branch on which the work is based, without `refs/heads/`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Says why nothing may be published there with that credential, if so.
    #[must_use]
    pub fn refusal(&self, credential: &Credential) -> Option<String> {
        if self.folder().is_some() {
            return None;
        }
        let Some(host) = self.host() else {
            return Some(
                "only https:// and local remotes are pushed to, because no other credentials are \
                 at hand"
                    .to_owned(),
            );
        };
        (!credential.trusts(host)).then(|| {
            format!("{host} is not in pull_request.hosts, so that it does not get the token")
        })
    }

    /// Returns the host, with its port, of a remote on a forge.
    fn host(&self) -> Option<&str> {
        let (host, _) = self.url.strip_prefix("https://")?.split_once('/')?;
        self.repository().map(|_| host)
    }

    /// Returns `[HOST/]OWNER/NAME` for a remote on a forge.
    fn repository(&self) -> Option<String> {
        let rest = self.url.strip_prefix("https://")?;
        let (host, path) = rest.split_once('/')?;
        let path = path.trim_end_matches('/').trim_end_matches(".git");
        let mut parts = path.split('/');
        let (owner, name) = (parts.next()?, parts.next()?);
        if parts.next().is_some() || host.contains('@') || owner.is_empty() || name.is_empty() {
            return None;
        }
        Some(match host {
            "github.com" => format!("{owner}/{name}"),
            host => format!("{host}/{owner}/{name}"),
        })
    }

    /// Returns the folder of a remote on this machine.
    fn folder(&self) -> Option<PathBuf> {
        let path = self.url.strip_prefix("file://").unwrap_or(&self.url);
        path.starts_with('/').then(|| PathBuf::from(path))
    }
}

impl Workspace {
    /// Returns the project's remote `origin`, if it has one and stands on a branch.
    ///
    /// # Errors
    /// When git refuses.
    pub async fn remote(&self) -> Result<Option<Remote>, BranchError> {
        let Some(base) = self
            .base_branch
            .as_deref()
            .and_then(|branch| branch.strip_prefix("refs/heads/"))
        else {
            return Ok(None);
        };
        let ask = Call::new("read the project's remote", &self.in_project()).arguments([
            "config",
            "--local",
            "--get",
            "remote.origin.url",
        ]);
        let url = self.git.query(ask).await?.map(|answer| answer.line());
        Ok(url.filter(|url| !url.is_empty()).map(|url| Remote {
            url,
            base: base.to_owned(),
        }))
    }

    /// Pushes the session's branch. It is never forced: a branch of that name that is elsewhere stays.
    ///
    /// # Errors
    /// When the remote cannot be reached from here, or refuses.
    pub async fn push(&self, remote: &Remote, credential: &Credential) -> Result<(), BranchError> {
        let reference = self.reference();
        if let Some(said) = remote.refusal(credential) {
            return Err(BranchError::Git { what: "push", said });
        }
        let mut push = Call::new("push", &self.kept())
            .settings([
                ("protocol.https.allow".to_owned(), "always".to_owned()),
                ("http.followRedirects".to_owned(), "false".to_owned()),
            ])
            .arguments(["push", "--porcelain", "--no-verify", "--end-of-options"])
            .arguments([remote.url.clone(), format!("{reference}:{reference}")]);
        if let Some(folder) = remote.folder() {
            push = push.write(folder);
        } else {
            push = push.online();
            if let (Some(token), Some(host)) = (&credential.token, remote.host()) {
                push = push.settings([(
                    format!("http.https://{host}/.extraHeader"),
                    format!("Authorization: Basic {}", basic(token)),
                )]);
            }
        }
        self.git.run(push).await?;
        Ok(())
    }

    /// Makes a pull request of the pushed branch, or brings the open one up to date; says what to run
    /// if `gh` is not there or refuses.
    ///
    /// # Errors
    /// When the text cannot be written or the program cannot be started.
    pub async fn pull_request(
        &self,
        sandbox: &Sandbox,
        remote: &Remote,
        credential: &Credential,
        title: &str,
        text: &str,
    ) -> Result<Published, BranchError> {
        if let Some(said) = remote.refusal(credential) {
            return Err(BranchError::Git {
                what: "make a pull request",
                said,
            });
        }
        let gh = Gh {
            sandbox,
            remote,
            credential,
            folder: self.folder.bundle_folder(),
            home: self.folder.git_home(),
        };
        let body = gh.folder.join("pull-request.md");
        private::replace_file(&body, text.as_bytes()).map_err(|source| BranchError::File {
            what: "write",
            path: body.clone(),
            source,
        })?;
        let open = gh
            .run(&["pr", "list", "--state", "open", "--head", &self.branch])
            .with(&["--json", "url", "--jq", ".[0].url"])
            .finish()
            .await?;
        let body = body.to_string_lossy();
        let finished = match address(&open) {
            Some(address) => {
                let edited = gh
                    .run(&["pr", "edit", &address, "--title", title])
                    .with(&["--body-file", &body])
                    .finish()
                    .await?;
                if edited.succeeded() {
                    return Ok(Published::at(address));
                }
                edited
            }
            None => {
                gh.run(&["pr", "create", "--base", &remote.base])
                    .with(&["--head", &self.branch, "--title", title])
                    .with(&["--body-file", &body])
                    .finish()
                    .await?
            }
        };
        Ok(match address(&finished) {
            Some(address) => Published::at(address),
            None => Published {
                is_pushed: true,
                pull_request: None,
                note: Some(format!(
                    "no pull request was made ({}); to make one: gh pr create --base {} --head {} --fill",
                    why(&finished),
                    remote.base,
                    self.branch
                )),
            },
        })
    }
}

impl Published {
    fn at(address: String) -> Self {
        Self {
            is_pushed: true,
            pull_request: Some(address),
            note: None,
        }
    }
}

/// GitHub's program, in a folder of the runtime's own.
struct Gh<'publication> {
    sandbox: &'publication Sandbox,
    remote: &'publication Remote,
    credential: &'publication Credential,
    folder: PathBuf,
    home: PathBuf,
}

/// One run of it.
struct Run<'run> {
    gh: &'run Gh<'run>,
    arguments: Vec<String>,
}

impl Gh<'_> {
    fn run<'run>(&'run self, arguments: &[&str]) -> Run<'run> {
        let run = Run {
            gh: self,
            arguments: Vec::new(),
        };
        run.with(arguments)
    }
}

impl Run<'_> {
    fn with(mut self, arguments: &[&str]) -> Self {
        let more = arguments.iter().map(|argument| (*argument).to_owned());
        self.arguments.extend(more);
        self
    }

    async fn finish(mut self) -> Result<Finished, BranchError> {
        if let Some(repository) = self.gh.remote.repository() {
            self = self.with(&["--repo", &repository]);
        }
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), self.gh.sandbox.path()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("HOME".to_owned(), text(&self.gh.home)),
            ("GH_CONFIG_DIR".to_owned(), text(&self.gh.home)),
            ("GH_PROMPT_DISABLED".to_owned(), "1".to_owned()),
            ("GH_NO_UPDATE_NOTIFIER".to_owned(), "1".to_owned()),
            ("NO_COLOR".to_owned(), "1".to_owned()),
        ]);
        if let Some(token) = &self.gh.credential.token {
            // For hosts other than its own, gh reads a variable of another name.
            let variable = match self.gh.remote.host() {
                Some(host) if !host.eq_ignore_ascii_case("github.com") => "GH_ENTERPRISE_TOKEN",
                Some(_) | None => "GH_TOKEN",
            };
            environment.insert(variable.to_owned(), token.clone());
        }
        let mut program_and_arguments = vec!["gh".into()];
        program_and_arguments.extend(self.arguments.into_iter().map(Into::into));
        let confined = Confined {
            program_and_arguments,
            directory: self.gh.folder.clone(),
            read: self.gh.sandbox.tools(),
            write: vec![self.gh.folder.clone(), self.gh.home.clone()],
            environment,
            input: None,
            connect_ports: vec![HTTPS],
            memory_bytes_max: None,
            room: None,
            umask: UMASK,
        };
        let finished = self
            .gh
            .sandbox
            .run(confined, OUTPUT_BYTES_MAX, TIME_MAX)
            .await;
        match finished {
            Ok(finished) => Ok(finished),
            // The program is not there.
            Err(crate::sandbox::SandboxError::NotRun(said)) => Ok(Finished {
                code: NOT_FOUND,
                stdout: Vec::new(),
                stderr: said.into_bytes(),
                cut: None,
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the address that a run printed, if it succeeded.
fn address(finished: &Finished) -> Option<String> {
    let text = String::from_utf8_lossy(&finished.stdout);
    let line = text.lines().last()?.trim();
    (finished.succeeded() && line.starts_with("https://")).then(|| line.to_owned())
}

fn why(finished: &Finished) -> String {
    let text = String::from_utf8_lossy(&finished.stderr);
    let line = text.lines().next().unwrap_or_default();
    let shown: String = line
        .replace(char::is_control, "\u{fffd}")
        .chars()
        .take(WHY_CHARACTERS_MAX)
        .collect();
    if shown.is_empty() {
        format!("gh ended with {}", finished.code)
    } else {
        shown
    }
}

/// Writes the credential of a token as git's hosts take it.
fn basic(token: &str) -> String {
    base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("x-access-token:{token}"),
    )
}

const HTTPS: u16 = 443;
const UMASK: u32 = 0o077;
const NOT_FOUND: i32 = 127;
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
const TIME_MAX: Duration = Duration::from_secs(120);
const WHY_CHARACTERS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::{Credential, Remote};

    #[test]
    fn only_remotes_that_can_be_reached_safely_are() {
        let check = |url: &str, repository: Option<&str>, reachable: bool| {
            let remote = Remote {
                url: url.to_owned(),
                base: "main".to_owned(),
            };
            assert_eq!(remote.repository().as_deref(), repository, "{url}");
            let hosts = ["github.com", "git.example.org"].map(str::to_owned);
            let credential = Credential::default().for_hosts(&hosts);
            assert_eq!(remote.refusal(&credential).is_none(), reachable, "{url}");
        };
        check("git@github.com:me/app.git", None, false);
        check("ssh://git@github.com/me/app", None, false);
        check("ext::sh -c touch% /tmp/x", None, false);
        check("http://github.com/me/app", None, false);
        check("https://user:secret@github.com/me/app", None, false);
        check("https://github.com/me", None, false);
        check("../elsewhere", None, false);
        check("https://github.com/me/app.git", Some("me/app"), true);
        check(
            "https://git.example.org/me/app",
            Some("git.example.org/me/app"),
            true,
        );
        check(
            "https://evil.example/me/app",
            Some("evil.example/me/app"),
            false,
        );
        check(
            "https://github.com:444/me/app",
            Some("github.com:444/me/app"),
            false,
        );
        check(
            "https://github.com.evil.example/me/app",
            Some("github.com.evil.example/me/app"),
            false,
        );
        check("file:///srv/app.git", None, true);
        check("/srv/app.git", None, true);
    }
}
