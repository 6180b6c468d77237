//! What all proxies of a lab share: certificate, origin, issuer, tokens; and the gateway's home.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tempfile::TempDir;

use super::issuer::{AUDIENCE, Issuer, Key};
use super::process::Process;
use super::subject::command;
use crate::credentials::Credentials;
use crate::opaque::{self, Entry};

/// Where programs run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processors {
    /// The proxy's.
    pub(crate) proxy: Option<usize>,
    /// That of origin and load.
    pub(crate) others: Option<usize>,
}

/// What differs between two runs of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    /// Opaque tokens in the store, besides the two special ones.
    pub(crate) tokens: usize,
    /// How many of them are used, from all over the store: each is a principal with connections of its own to the
    /// origin.
    pub(crate) used: usize,
    /// Issuers besides the one whose tokens are used.
    pub(crate) other_issuers: usize,
    /// Failed credentials are throttled as they are by default.
    pub(crate) throttled: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            tokens: 1,
            used: usize::MAX,
            other_issuers: 0,
            throttled: false,
        }
    }
}

/// The shared things.
#[derive(Debug)]
pub(crate) struct Site {
    /// Everything lies here.
    pub(crate) folder: TempDir,
    /// Where the project's programs are.
    pub(crate) programs: PathBuf,
    /// Where other programs were installed.
    pub(crate) counterparts: PathBuf,
    /// Where programs run.
    pub(crate) processors: Processors,
    /// The certificate that every proxy shows.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Both in one file.
    pub(crate) combined: PathBuf,
    /// The issuer's public key.
    pub(crate) public_key: PathBuf,
    /// The origin's socket.
    pub(crate) origin_socket: PathBuf,
    /// The issuer.
    pub(crate) issuer: Issuer,
    /// Its key.
    pub(crate) signer: Key,
    /// JSON Web Tokens.
    jwts: Vec<String>,
    /// The origin; none before it is started.
    origin: Option<Process>,
}

impl Site {
    /// Makes the shared things, with so many JSON Web Tokens, and starts the origin.
    ///
    /// # Errors
    /// When something cannot be made.
    pub(crate) fn build(
        programs: &Path,
        counterparts: &Path,
        processors: Processors,
        jwts: usize,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("loki-load.").tempdir()?;
        let place = |name: &str| folder.path().join(name);
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = CertificateParams::new(names)?.self_signed(&pair)?;
        let (certificate, key) = (made.pem(), pair.serialize_pem());
        write_private(&place("cert.pem"), &certificate)?;
        write_private(&place("key.pem"), &key)?;
        write_private(&place("both.pem"), &format!("{certificate}{key}"))?;
        let signer = Key::generate("first")?;
        write_private(&place("issuer.pem"), signer.public_pem())?;
        let issuer = Issuer::start(&signer)?;
        let jwts = signer.tokens(&issuer.url(), jwts)?;
        let mut site = Self {
            programs: programs.to_owned(),
            counterparts: counterparts.to_owned(),
            processors,
            certificate: place("cert.pem"),
            key: place("key.pem"),
            combined: place("both.pem"),
            public_key: place("issuer.pem"),
            origin_socket: place("origin.sock"),
            folder,
            issuer,
            signer,
            jwts,
            origin: None,
        };
        site.start_origin()?;
        Ok(site)
    }

    fn start_origin(&mut self) -> anyhow::Result<()> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let mut origin = command(&own);
        origin.arg("origin").arg(&self.origin_socket);
        let log = self.folder.path().join("origin.log");
        let mut process = Process::start(&mut origin, self.processors.others, &log)?;
        let socket = self.origin_socket.clone();
        process.wait_for("the origin listened", || socket.exists())?;
        self.origin = Some(process);
        Ok(())
    }

    /// Furnishes the gateway's home for these conditions, and returns what its callers hold.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn furnish(&self, conditions: &Conditions) -> anyhow::Result<Credentials> {
        let home = self.home();
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(home.join("dashboard"))?;
        let entry = |scopes, expired| {
            Ok::<_, anyhow::Error>(Entry {
                token: opaque::generate()?,
                scopes,
                expired,
            })
        };
        let mut entries = vec![entry("control", true)?, entry("read", false)?];
        for _ in 0..conditions.tokens {
            entries.push(entry("control", false)?);
        }
        write_private(&home.join("dashboard/tokens.json"), &opaque::file(&entries))?;
        write_private(&home.join("gateway.toml"), &self.settings(conditions))?;
        let texts: Vec<String> = entries.into_iter().map(|entry| entry.token).collect();
        Ok(Credentials {
            expired: texts.first().cloned(),
            narrow: texts.get(1).cloned(),
            opaque: spread(&texts[2..], conditions.used),
            jwts: self.jwts.clone(),
        })
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Returns what changes the gateway's settings so that it takes new ones into use.
    pub(crate) fn changer(
        &self,
        conditions: &Conditions,
    ) -> impl Fn(u32) -> anyhow::Result<()> + Send + 'static {
        let file = self.home().join("gateway.toml");
        let text = self.settings(conditions);
        move |number| {
            let timeout = format!("idle_timeout = \"{}s\"\n\n[streams]", 60 + number % 60);
            replace_private(&file, &text.replacen("\n[streams]", &timeout, 1))
        }
    }

    fn settings(&self, conditions: &Conditions) -> String {
        let shown = |path: &Path| format!("{:?}", path.display().to_string());
        let others: String = (0..conditions.other_issuers)
            .map(|number| {
                let url = self.issuer.other_url(number);
                format!(
                    "\n[[oidc.issuers]]\nname = \"other-{number}\"\nurl = \"{url}\"\n\
                     allow_loopback_http = true\naudiences = [\"{AUDIENCE}\"]\n\n\
                     [[oidc.issuers.rules]]\nname = \"all\"\nrole = \"viewer\"\n"
                )
            })
            .collect();
        let failures = if conditions.throttled {
            ""
        } else {
            "failed_credentials_max = 4294967295\n"
        };
        format!(
            "[tls]\ncertificate = {}\nkey = {}\n\n[auth]\ntokens = true\n\n\
             [oidc]\nallow_loopback_http = true\n\n[runtime]\nsocket = {}\n\n\
             [limits]\nconnections_per_address_max = 10000\n{failures}\n\
             [streams]\nper_principal_max = 10000\nwebsockets_per_principal_max = 10000\n\n\
             [rates]\nread = \"10000000/s\"\nchange = \"10000000/s\"\n\n[log]\nlevel = \"warn\"\n{others}",
            shown(&self.certificate),
            shown(&self.key),
            shown(&self.origin_socket),
        )
    }

    /// Returns the command that starts the gateway.
    ///
    /// # Errors
    /// When its home was not furnished.
    pub(crate) fn gateway(&self, program: &Path, port: u16) -> anyhow::Result<Command> {
        let home = self.home();
        ensure!(home.exists(), "the gateway's home was not furnished");
        let mut command = command(program);
        command
            .arg("--data-dir")
            .arg(&home)
            .args(["--port", &port.to_string()])
            .env("HOME", self.folder.path())
            .env("LOKI_OIDC_ISSUER", self.issuer.url())
            .env("LOKI_OIDC_CLIENT_ID", AUDIENCE)
            .env("LOKI_OIDC_DEFAULT_ROLE", "viewer");
        Ok(command)
    }
}

/// Returns so many of the texts, at even distances.
fn spread(texts: &[String], count: usize) -> Vec<String> {
    let step = texts.len().div_ceil(count.max(1)).max(1);
    texts.iter().step_by(step).cloned().collect()
}

/// Puts a file in the place of another, as a whole.
fn replace_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    write_private(&beside, text)?;
    Ok(fs::rename(beside, path)?)
}

/// Writes a file that nobody else may read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
