//! What the gateway asks of the runtime on its own behalf: figures, and whether it is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::contract::caller::{self, AuthMethod, Caller};
use config::contract::figures::{self, Figures};
use config::contract::id::RequestId;
use config::contract::scope::{Scope, Scopes};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::random;
use crate::statement::Statements;

/// Longest answer in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the runtime could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nothing listens, or it hung up.
    #[error("cannot reach the runtime at {path}: {reason}")]
    Away {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It did not answer in time.
    #[error("the runtime did not answer within {ANSWER_TIMEOUT:?}")]
    Slow,
    /// It answered something else.
    #[error("the runtime's answer cannot be used: {0}")]
    Unusable(String),
}

/// Asks over a connection of its own, never over a caller's.
#[derive(Debug)]
pub(crate) struct RuntimeClient {
    socket: PathBuf,
    itself: Arc<Caller>,
}

impl RuntimeClient {
    /// Builds a client of the runtime's socket.
    pub(crate) fn new(socket: PathBuf) -> Self {
        let itself = Arc::new(Caller {
            user: "gateway".to_owned(),
            principal: "gateway".to_owned(),
            auth_method: AuthMethod::Local,
            scopes: Scopes::from_iter([Scope::Read]),
            projects: None,
        });
        Self { socket, itself }
    }

    /// Returns whether something accepts connections at the runtime's socket.
    pub(crate) async fn is_reachable(&self) -> bool {
        let connecting = UnixStream::connect(&self.socket);
        matches!(
            tokio::time::timeout(ANSWER_TIMEOUT, connecting).await,
            Ok(Ok(_))
        )
    }

    /// Returns the figures for `/metrics`.
    ///
    /// # Errors
    /// When the runtime cannot be asked.
    pub(crate) async fn figures(&self, statements: &Statements) -> Result<Figures, AskError> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.ask(statements, figures::PATH))
            .await
            .map_err(|_| AskError::Slow)?
            .and_then(|body| {
                serde_json::from_slice(&body).map_err(|error| AskError::Unusable(error.to_string()))
            })
    }

    async fn ask(&self, statements: &Statements, path: &str) -> Result<Bytes, AskError> {
        let away = |reason: String| AskError::Away {
            path: self.socket.clone(),
            reason,
        };
        let unusable = |reason: String| AskError::Unusable(reason);
        let id = random::bytes().map_err(|error| unusable(error.to_string()))?;
        let statement = statements
            .make(
                &RequestId::from_random(id),
                "GET",
                path,
                &self.itself,
                false,
            )
            .map_err(|error| unusable(error.to_string()))?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header("host", "runtime")
            .header(caller::HEADER, statement)
            .body(Empty::<Bytes>::new())
            .map_err(|error| unusable(error.to_string()))?;

        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| away(error.to_string()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| away(error.to_string()))?;
        let exchange = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| away(error.to_string()))?;
            if answer.status() != StatusCode::OK {
                return Err(unusable(format!("status {}", answer.status())));
            }
            Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map(|body| body.to_bytes())
                .map_err(|error| unusable(error.to_string()))
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = connection => match ended {
                Err(error) => Err(away(error.to_string())),
                // The connection ends cleanly once its answer is read.
                Ok(()) => exchange.await,
            },
        }
    }
}
