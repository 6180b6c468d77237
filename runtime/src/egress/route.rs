//! Routes: one endpoint under a name of the proxy, with a credential that is put in outside.
//!
//! Invariant: the credential goes to the route's own endpoint and nowhere else, and is never shown.

use std::fmt;
use std::path::PathBuf;

use config::runtime::{EgressRoute, KeySource};

use super::address::Host;
use super::rule::split_port;

/// One endpoint that is reached as `http://127.0.0.1:3128/NAME/...` from inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Route {
    pub(super) name: String,
    pub(super) tls: bool,
    pub(super) host: Host,
    /// The host as it is named to the server and in its certificate.
    pub(super) host_name: String,
    pub(super) port: u16,
    /// Without a slash at its end.
    pub(super) path: String,
    pub(super) header: String,
    /// The agent's variable that says where the route is.
    pub(super) base_url_variable: Option<String>,
    value: String,
}

/// Says why a route cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The upstream is no address of a server.
    #[error("egress.routes.{name}.upstream {upstream:?} is no http or https address of a server")]
    Upstream {
        /// The route.
        name: String,
        /// As set.
        upstream: String,
    },
    /// The credential cannot be read.
    #[error("cannot read the credential of egress.routes.{name} from {path}: {source}", path = .path.display())]
    File {
        /// The route.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The variable that holds the credential is not set.
    #[error("egress.routes.{name}: the variable {variable} is not set for the runtime")]
    Variable {
        /// The route.
        name: String,
        /// The variable.
        variable: String,
    },
    /// The credential cannot be a header's value.
    #[error("the credential of egress.routes.{0} is empty or holds a line end")]
    Value(String),
}

impl Route {
    /// Builds a route and reads its credential.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn new(
        settings: &EgressRoute,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, RouteError> {
        let name = settings.name.clone();
        let wrong = || RouteError::Upstream {
            name: name.clone(),
            upstream: settings.upstream.clone(),
        };
        let (tls, rest) = match settings.upstream.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) | None => return Err(wrong()),
        };
        let (authority, path) = rest
            .find('/')
            .map_or((rest, ""), |slash| rest.split_at(slash));
        let (host_name, port) = split_port(authority).ok_or_else(wrong)?;
        let host = Host::read(host_name).ok_or_else(wrong)?;
        let key = match &settings.key {
            KeySource::File(path) => {
                std::fs::read_to_string(path).map_err(|source| RouteError::File {
                    name: name.clone(),
                    path: path.clone(),
                    source,
                })?
            }
            KeySource::Variable(asked) => variable(asked).ok_or_else(|| RouteError::Variable {
                name: name.clone(),
                variable: asked.clone(),
            })?,
        };
        let key = key.trim();
        if key.is_empty()
            || !key
                .bytes()
                .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        {
            return Err(RouteError::Value(name));
        }
        Ok(Self {
            name,
            tls,
            host,
            host_name: host_name.to_owned(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            path: path.trim_end_matches('/').to_owned(),
            header: settings.header.clone(),
            base_url_variable: settings.base_url_variable.clone(),
            value: format!("{}{key}", settings.prefix),
        })
    }

    /// Returns the header field that is put in.
    pub(super) fn field(&self) -> (&str, &str) {
        (&self.header, &self.value)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Route")
            .field("name", &self.name)
            .field("host", &self.host_name)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
