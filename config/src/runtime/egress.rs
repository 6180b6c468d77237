//! The settings of the egress proxy: what agents in the sandbox may reach.

use std::path::PathBuf;

use crate::load::{Key, Reader};

/// What agents in the sandbox may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Hosts: `host`, `host:port`, `*.domain`, `address:port`. Empty is nothing.
    pub allow: Vec<String>,
    /// Endpoints under a name of the proxy.
    pub routes: Vec<EgressRoute>,
}

/// One endpoint, to which the proxy adds a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressRoute {
    /// Its name in the proxy's paths.
    pub name: String,
    /// Its address: `https://host[:port][/path]`.
    pub upstream: String,
    /// The header that carries the credential.
    pub header: String,
    /// What stands before the credential in it.
    pub prefix: String,
    /// Where the credential comes from.
    pub key: KeySource,
    /// The agent's variable that gets the route's address.
    pub base_url_variable: Option<String>,
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file outside every sandbox.
    File(PathBuf),
    /// A variable of the runtime.
    Variable(String),
}

/// Reads the table `egress`.
pub(super) fn read(reader: &mut Reader) -> Egress {
    let allow = reader.value(&Key::new("egress.allow"), Vec::new());
    let mut routes = Vec::new();
    for name in reader.tables_below("egress.routes") {
        let key = |part: &str| Key::new(format!("egress.routes.{name}.{part}"));
        let upstream = reader.value(&key("upstream"), String::new());
        let header = reader.value(&key("header"), "authorization".to_owned());
        let prefix = reader.value(&key("prefix"), String::new());
        let file: Option<PathBuf> = reader.optional(&key("key_file"));
        let variable: Option<String> = reader.optional(&key("key_variable"));
        let base_url_variable = reader.optional(&key("base_url_variable"));
        let at = format!("egress.routes.{name}");
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            reader.mistake(&at, "has no lawful name: use letters, digits and -");
        }
        if !upstream.starts_with("https://") && !upstream.starts_with("http://") {
            reader.mistake(&format!("{at}.upstream"), "is no http or https address");
        }
        if header.is_empty()
            || !header
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            reader.mistake(&format!("{at}.header"), "is no name of a header");
        }
        let source = match (file, variable) {
            (Some(file), None) => KeySource::File(file),
            (None, Some(variable)) => KeySource::Variable(variable),
            (Some(_), Some(_)) | (None, None) => {
                reader.mistake(&at, "needs either key_file or key_variable");
                continue;
            }
        };
        routes.push(EgressRoute {
            name,
            upstream,
            header,
            prefix,
            key: source,
            base_url_variable,
        });
    }
    Egress { allow, routes }
}
