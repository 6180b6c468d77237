//! TLS: certificates by name, versions, and certificates of clients.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::contract::scope::{Role, Scope, Scopes};
use crate::load::{Key, Reader};

/// How the main listener does TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The pair for clients that name no host, or one that no other pair has.
    pub pair: Pair,
    /// Further pairs, each for the names in its certificate.
    pub others: Vec<Pair>,
    /// The oldest version that is spoken.
    pub version_min: TlsVersion,
    /// What clients show.
    pub client: Option<Client>,
}

impl Tls {
    /// Returns every pair, the main one first.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        std::iter::once(&self.pair).chain(&self.others)
    }

    /// Returns whether certificates of clients are credentials.
    #[must_use]
    pub fn names_principals(&self) -> bool {
        !self.principals().is_empty()
    }

    /// Returns whom certificates of clients stand for.
    #[must_use]
    pub fn principals(&self) -> &[Principal] {
        self.client
            .as_ref()
            .map_or(&[], |client| &client.principals)
    }

    /// Returns every file.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.pairs()
            .flat_map(|pair| [pair.certificate.clone(), pair.key.clone()])
            .chain(self.client.iter().map(|client| client.ca.clone()))
            .collect()
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate chain (PEM), leaf first.
    pub certificate: PathBuf,
    /// The private key (PEM).
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    V12,
    /// TLS 1.3 alone.
    V13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        })
    }
}

impl FromStr for TlsVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(Self::V12),
            "1.3" => Ok(Self::V13),
            _ => Err(format!("{text:?} is not one of 1.2, 1.3")),
        }
    }
}

/// Certificates that clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The authorities that vouch for them (PEM).
    pub ca: PathBuf,
    /// Whether nobody is served without one.
    pub required: bool,
    /// Who a certificate stands for; one that is nobody's is no credential.
    pub principals: Vec<Principal>,
}

/// Who a certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name for people.
    pub name: String,
    /// What the certificate must say.
    pub matches: Name,
    /// What it may do.
    pub scopes: Scopes,
}

/// Something that a certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// A DNS name among its alternative names.
    Dns(String),
    /// A mail address among them.
    Email(String),
    /// A URI among them, such as a SPIFFE id.
    Uri(String),
    /// The whole subject, as in `CN=ci-bot, O=Example`.
    Subject(String),
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) => write!(formatter, "dns:{text}"),
            Self::Email(text) => write!(formatter, "email:{text}"),
            Self::Uri(text) => write!(formatter, "uri:{text}"),
            Self::Subject(text) => write!(formatter, "subject:{text}"),
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not dns:NAME, email:ADDRESS, uri:URI or subject:TEXT, exactly as the \
                 certificate has it"
            )
        };
        let (kind, value) = text.split_once(':').ok_or_else(wrong)?;
        if value.is_empty() {
            return Err(wrong());
        }
        match kind {
            "dns" => Ok(Self::Dns(value.to_ascii_lowercase())),
            "email" => Ok(Self::Email(value.to_owned())),
            "uri" => Ok(Self::Uri(value.to_owned())),
            "subject" => Ok(Self::Subject(value.to_owned())),
            _ => Err(wrong()),
        }
    }
}

/// Reads the `[tls]` table; none without a pair.
pub(crate) fn read(reader: &mut Reader) -> Option<Tls> {
    let certificate = reader.optional::<PathBuf>(
        &Key::new("tls.certificate")
            .variables(&["LOKI_TLS_CERT"])
            .flag("--tls-cert"),
    );
    let key = reader.optional::<PathBuf>(
        &Key::new("tls.key")
            .variables(&["LOKI_TLS_KEY"])
            .flag("--tls-key"),
    );
    let version_min = reader.value(&Key::new("tls.version_min"), TlsVersion::default());
    let others = others(reader);
    let client = client(reader);
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => {
            if client.is_some() || !others.is_empty() {
                reader.mistake(
                    "tls.certificate",
                    "is missing: further pairs and certificates of clients need tls.certificate \
                     and tls.key",
                );
            }
            return None;
        }
        (Some(_), None) => {
            reader.mistake(
                "tls.certificate",
                "the private key is missing: set tls.key, LOKI_TLS_KEY or --tls-key",
            );
            return None;
        }
        (None, Some(_)) => {
            reader.mistake(
                "tls.key",
                "the certificate is missing: set tls.certificate, LOKI_TLS_CERT or --tls-cert",
            );
            return None;
        }
    };
    Some(Tls {
        pair: Pair { certificate, key },
        others,
        version_min,
        client,
    })
}

/// Reads `[tls.pairs.NAME]`, each with a certificate and its key.
fn others(reader: &mut Reader) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for name in reader.tables_below("tls.pairs") {
        let certificate_key = format!("tls.pairs.{name}.certificate");
        let certificate = reader.optional(&Key::new(certificate_key.clone()));
        let key = reader.optional(&Key::new(format!("tls.pairs.{name}.key")));
        match (certificate, key) {
            (Some(certificate), Some(key)) => pairs.push(Pair { certificate, key }),
            (Some(_) | None, Some(_) | None) => {
                reader.mistake(&certificate_key, "a pair needs certificate and key");
            }
        }
    }
    pairs
}

/// Reads `[tls.client]`.
fn client(reader: &mut Reader) -> Option<Client> {
    let ca = reader.optional::<PathBuf>(&Key::new("tls.client.ca"));
    let required = reader.value(&Key::new("tls.client.required"), false);
    let names = reader.tables_below("tls.client.principals");
    let principals = names
        .into_iter()
        .filter_map(|name| principal(reader, name))
        .collect::<Vec<_>>();
    for (position, principal) in principals.iter().enumerate() {
        let double = principals[..position]
            .iter()
            .find(|other| other.matches == principal.matches);
        if let Some(double) = double {
            reader.mistake(
                &format!("tls.client.principals.{}.match", principal.name),
                format!("{} is also {}", principal.matches, double.name),
            );
        }
    }
    let Some(ca) = ca else {
        if required || !principals.is_empty() {
            reader.mistake(
                "tls.client.ca",
                "is missing: the file of the authorities that vouch for clients",
            );
        }
        return None;
    };
    Some(Client {
        ca,
        required,
        principals,
    })
}

fn principal(reader: &mut Reader, name: String) -> Option<Principal> {
    let key = |what: &str| format!("tls.client.principals.{name}.{what}");
    let matches = reader.optional::<Name>(&Key::new(key("match")));
    let role = reader.optional::<String>(&Key::new(key("role")));
    let scopes = reader.value(&Key::new(key("scopes")), Vec::<String>::new());
    if matches.is_none() {
        reader.mistake(
            &key("match"),
            "names no certificate: set for example \"uri:spiffe://example.org/ci-bot\"",
        );
    }
    let granted = match (role, scopes.as_slice()) {
        (Some(role), []) => match role.parse::<Role>() {
            Ok(role) => Some(role.scopes()),
            Err(error) => {
                reader.mistake(&key("role"), error.to_string());
                None
            }
        },
        (None, [_, ..]) => parse_scopes(reader, &key("scopes"), &scopes),
        (Some(_), [_, ..]) | (None, []) => {
            reader.mistake(&key("role"), "set either role or scopes");
            None
        }
    };
    Some(Principal {
        matches: matches?,
        scopes: granted?,
        name,
    })
}

fn parse_scopes(reader: &mut Reader, key: &str, texts: &[String]) -> Option<Scopes> {
    let scopes: Result<Vec<Scope>, _> = texts.iter().map(|text| text.parse::<Scope>()).collect();
    match scopes {
        Ok(scopes) => Some(scopes.into_iter().collect()),
        Err(error) => {
            reader.mistake(key, error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Name, TlsVersion};
    use crate::contract::scope::Role;
    use crate::gateway::GatewaySettings;
    use crate::load::Sources;

    fn load(text: &str) -> Result<GatewaySettings, String> {
        let sources = Sources {
            file: Some((PathBuf::from("gateway.toml"), text.to_owned())),
            ..Sources::default()
        };
        GatewaySettings::load(sources)
            .map(|loaded| loaded.settings)
            .map_err(|mistakes| mistakes.to_string())
    }

    const PAIR: &str = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n";

    #[test]
    fn halves_and_nonsense_are_refused() {
        for (text, named) in [
            (
                "[tls.pairs.api]\ncertificate = \"c\"\n",
                "certificate and key",
            ),
            (
                "[tls.pairs.api]\ncertificate = \"c\"\nkey = \"k\"\n",
                "tls.certificate",
            ),
            ("[tls.client]\nca = \"a\"\n", "tls.certificate"),
            (&format!("{PAIR}version_min = \"1.1\"\n"), "1.2, 1.3"),
            (
                &format!("{PAIR}[tls.client]\nrequired = true\n"),
                "tls.client.ca",
            ),
            (
                &format!(
                    "{PAIR}[tls.client]\nca = \"a\"\n[tls.client.principals.bot]\nmatch = \"bot\"\nrole = \"viewer\"\n"
                ),
                "dns:NAME",
            ),
            (
                &format!(
                    "{PAIR}[tls.client]\nca = \"a\"\n[tls.client.principals.bot]\nmatch = \"dns:bot\"\n"
                ),
                "either role or scopes",
            ),
            (
                &format!(
                    "{PAIR}[tls.client]\nca = \"a\"\n[tls.client.principals.bot]\nmatch = \"dns:bot\"\nscopes = [\"root\"]\n"
                ),
                "root",
            ),
            (
                &format!(
                    "{PAIR}[tls.client]\nca = \"a\"\n[tls.client.principals.a]\nmatch = \"dns:bot\"\nrole = \"viewer\"\n[tls.client.principals.b]\nmatch = \"dns:BOT\"\nrole = \"admin\"\n"
                ),
                "is also a",
            ),
        ] {
            let told = load(text).map(|_| ()).expect_err(text);
            assert!(told.contains(named), "{text}: {told}");
        }
    }

    #[test]
    fn names_of_certificates_stand_for_principals() {
        let text = format!(
            "{PAIR}version_min = \"1.3\"\n[tls.pairs.api]\ncertificate = \"c2\"\nkey = \"k2\"\n\
             [tls.client]\nca = \"a\"\n[tls.client.principals.ci-bot]\n\
             match = \"uri:spiffe://example.org/ci\"\nrole = \"operator\"\n"
        );
        let tls = load(&text).expect("settings").tls.expect("tls");
        assert_eq!(tls.version_min, TlsVersion::V13);
        assert_eq!(tls.files().len(), 5);
        let client = tls.client.expect("client");
        assert!(!client.required);
        let [principal] = client.principals.as_slice() else {
            panic!("one principal");
        };
        assert_eq!(
            principal.matches,
            Name::Uri("spiffe://example.org/ci".to_owned())
        );
        assert_eq!(principal.scopes, Role::Operator.scopes());
    }
}
