//! One kept-open connection to the target.

use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::target::Target;

/// A connection that asks one request after the other.
#[derive(Debug)]
pub(crate) struct Client {
    sender: SendRequest<Empty<Bytes>>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens or the certificate is another one.
    pub(crate) async fn connect(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address)
            .await
            .with_context(|| format!("cannot reach {}", target.address))?;
        stream.set_nodelay(true)?;
        let sender = match &target.tls {
            None => Self::begin(TokioIo::new(stream)).await?,
            Some((config, name)) => {
                let connector = TlsConnector::from(config.clone());
                let stream = connector.connect(name.clone(), stream).await?;
                Self::begin(TokioIo::new(stream)).await?
            }
        };
        Ok(Self { sender })
    }

    async fn begin<T>(stream: T) -> anyhow::Result<SendRequest<Empty<Bytes>>>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(stream).await?;
        // How the connection ends shows in the next request's error.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Asks once; returns the status after the whole body was read.
    ///
    /// # Errors
    /// When the connection ends before the answer.
    pub(crate) async fn ask(&mut self, target: &Target) -> anyhow::Result<u16> {
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(&target.path)
            .header(HOST, &target.authority);
        if let Some(authorization) = &target.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.sender.ready().await?;
        let answer = self
            .sender
            .send_request(request.body(Empty::new())?)
            .await?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(status)
    }
}
