//! The way to the gateway: where it is, which certificate it must have, which token it gets.
//!
//! Invariant: the token goes to the gateway that was meant and to nobody else: no redirect is
//! followed, the local gateway is known by its certificate, and a remote one gets no token in
//! clear text.

mod address;
mod answer;
mod credential;
mod pin;
pub(crate) mod stream;

use std::path::PathBuf;
use std::time::Duration;

use ::config::contract::endpoint::Endpoint;
use reqwest::blocking::{Client as Http, RequestBuilder, Response};
use reqwest::{Method, redirect};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::address::Address;
use self::credential::Credential;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

const USER_AGENT: &str = concat!("loki/", env!("CARGO_PKG_VERSION"));

/// How to reach a gateway.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Reach {
    /// Gateway's address [default: LOKI_URL, else the one running on this machine]
    #[arg(long, help_heading = "Connection")]
    pub(crate) url: Option<String>,
    /// File with the token [default: LOKI_TOKEN, else ~/.loki/credentials]
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    token_file: Option<PathBuf>,
    /// Certificates to trust, in PEM format, instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    ca: Option<PathBuf>,
}

impl Reach {
    /// Returns whether a certain gateway was named, not just the one on this machine.
    pub(crate) fn names_gateway(&self, context: &Context) -> bool {
        self.url.is_some() || context.variable("LOKI_URL").is_some()
    }
}

/// A gateway to talk to.
#[derive(Debug)]
pub(crate) struct Client {
    http: Http,
    base: String,
    credential: Option<Credential>,
    /// How the gateway's certificate is known; none is by the system's.
    trust: Option<ClientConfig>,
    /// Whether no proxy stands between.
    direct: bool,
}

impl Client {
    /// Prepares to talk to the gateway that is named, or to the one on this machine.
    pub(crate) fn new(context: &Context, reach: &Reach) -> Result<Self, Failure> {
        let credential = Credential::find(context, reach.token_file.as_deref())?;
        match Address::find(context, reach.url.as_deref())? {
            Address::Named(url) => Self::named(&url, reach, credential),
            Address::Local(endpoint) => Self::local(&endpoint, credential),
        }
    }

    /// Prepares to talk to the gateway on this machine, known by its certificate.
    pub(crate) fn local(
        endpoint: &Endpoint,
        credential: Option<Credential>,
    ) -> Result<Self, Failure> {
        let digest = endpoint.certificate_sha256.as_deref();
        let trust = digest.map(pin::to_digest).transpose()?;
        Ok(Self {
            http: build(trust.as_ref(), true)?,
            base: endpoint.url.trim_end_matches('/').to_owned(),
            credential: credential.filter(|_| endpoint.tokens_required),
            trust,
            direct: true,
        })
    }

    fn named(
        url: &reqwest::Url,
        reach: &Reach,
        credential: Option<Credential>,
    ) -> Result<Self, Failure> {
        let encrypted = url.scheme() == "https";
        if credential.is_some() && !encrypted && !address::is_loopback(url) {
            return Err(Failure::usage(format!(
                "the token is not sent to {url}: without TLS, others on the way could read it"
            ))
            .fix("use https, or unset the token"));
        }
        let direct = address::is_loopback(url);
        let trust = reach.ca.as_deref().map(pin::to_file).transpose()?;
        Ok(Self {
            http: build(trust.as_ref(), direct)?,
            base: url.as_str().trim_end_matches('/').to_owned(),
            credential,
            trust,
            direct,
        })
    }

    /// Returns where the gateway is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for JSON.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        answer::json(self.send(self.request(Method::GET, path))?)
    }

    /// Asks for text.
    pub(crate) fn get_text(&self, path: &str) -> Result<String, Failure> {
        answer::text(self.send(self.request(Method::GET, path))?)
    }

    /// Asks for a change; the answer is JSON.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request.header("content-length", "0"),
        };
        answer::json(self.send(request)?)
    }

    /// Asks for something to be taken away.
    pub(crate) fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path)).map(drop)
    }

    /// Returns whether the gateway accepts requests.
    pub(crate) fn is_ready(&self) -> bool {
        self.http
            .get(format!("{}/health/ready", self.base))
            .timeout(CONNECT_TIMEOUT)
            .send()
            .is_ok_and(|response| response.status().is_success())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.credential {
            Some(credential) => request.header("authorization", credential.header()),
            None => request,
        }
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().map_err(|error| self.unreachable(&error))?;
        answer::check(response, self.credential.as_ref())
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            why = inner.to_string();
            source = inner.source();
        }
        if error.is_timeout() {
            why = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
        }
        let fix = if why.contains("certificate") {
            "if the gateway is the right one, trust its certificate: --ca FILE"
        } else {
            "loki dashboard status shows what runs here; loki dashboard start starts it"
        };
        let what = format!("cannot reach the gateway at {}: {why}", self.base);
        Failure::new(Exit::Unreachable, what).fix(fix)
    }
}

/// Gives the process its crypto library, from which TLS to other hosts is built. It is already there
/// when this is called again.
pub(crate) fn install_crypto() {
    drop(aws_lc_rs::default_provider().install_default());
}

fn build(trust: Option<&ClientConfig>, direct: bool) -> Result<Http, Failure> {
    install_crypto();
    let mut builder = Http::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT);
    if let Some(trust) = trust {
        builder = builder.tls_backend_preconfigured(trust.clone());
    }
    if direct {
        builder = builder.no_proxy();
    }
    builder
        .build()
        .map_err(|error| Failure::failed(format!("cannot prepare the connection: {error}")))
}

#[cfg(test)]
mod tests;
