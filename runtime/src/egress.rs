//! The egress proxy: the only way out of a sandbox's network.
//!
//! `loki-jail` makes a listener on the loopback address inside and hands it over; the proxy accepts on
//! it and connects outside. An HTTP client inside uses it as its proxy, or asks it for a route, which
//! leads to one endpoint and carries a credential that never comes inside.
//!
//! Invariant: nothing is connected to that the operator's rules do not allow, and only addresses that
//! were looked at are connected to.

pub mod rule;

mod address;
mod decision;
mod head;
mod listener;
mod relay;
mod route;

pub use decision::{Decision, Pending, Verdict};
pub use listener::{Door, DoorError};
pub(crate) use relay::secured;
pub use route::{Route, RouteError};
pub use rule::{Rule, RuleError, Rules};

use std::collections::BTreeMap;
use std::sync::Arc;

use config::runtime::Egress;

/// What one session's sandbox may reach.
#[derive(Clone, Debug)]
pub struct Outlet {
    pub(crate) rules: Arc<Rules>,
    pub(crate) routes: Arc<Vec<Route>>,
}

impl Outlet {
    /// Builds an outlet.
    #[must_use]
    pub fn new(rules: Rules, routes: Vec<Route>) -> Self {
        Self {
            rules: Arc::new(rules),
            routes: Arc::new(routes),
        }
    }

    /// Returns whether nothing at all is allowed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.rules.is_empty() && self.routes.is_empty()
    }
}

impl Outlet {
    /// Reads an outlet from the settings; credentials come from files and the runtime's variables.
    ///
    /// # Errors
    /// When an entry or a route cannot be used.
    pub fn from_settings(
        settings: &Egress,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, OutletError> {
        let rules = Rules::read(&settings.allow)?;
        let variable = |name: &str| variables.get(name).cloned();
        let routes = settings
            .routes
            .iter()
            .map(|route| Route::new(route, variable));
        Ok(Self::new(rules, routes.collect::<Result<_, _>>()?))
    }

    /// Returns the variables by which programs inside find the proxy and its routes.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let proxy = format!("http://127.0.0.1:{PORT}");
        let mut variables = BTreeMap::new();
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            variables.insert(name.to_owned(), proxy.clone());
        }
        for name in ["NO_PROXY", "no_proxy"] {
            variables.insert(name.to_owned(), "localhost,127.0.0.1,::1".to_owned());
        }
        // By its own word node uses a proxy only when it is told to.
        variables.insert("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned());
        for route in self.routes.iter() {
            if let Some(name) = &route.base_url_variable {
                variables.insert(name.clone(), format!("{proxy}/{}", route.name));
            }
        }
        variables
    }
}

/// Says why the settings make no outlet.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// An entry of the list is none.
    #[error("egress.allow: {0}")]
    Rule(#[from] RuleError),
    /// A route cannot be used.
    #[error(transparent)]
    Route(#[from] RouteError),
}

/// The port of the proxy inside.
pub const PORT: u16 = 3128;
