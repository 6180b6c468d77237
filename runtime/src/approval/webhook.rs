//! Tells a receiver that something waits for a person: where to look, and nothing of what it is.
//!
//! Invariant: a notice is signed, decides nothing and holds up nobody; what cannot be delivered after a
//! few tries is given up and logged.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::hmac;
use config::contract::approval::ApprovalView;
use config::runtime::Webhook;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::clock;
use crate::egress::secured;

/// Where notices are handed in; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notices {
    waiting: mpsc::Sender<String>,
}

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Its file cannot be read.
    #[error("cannot read the key of approvals.webhook from {path}: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too short to sign with.
    #[error("the key of approvals.webhook in {0:?} is shorter than {KEY_BYTES_MIN} bytes")]
    Short(PathBuf),
}

impl Notices {
    /// Begins to deliver. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn begin(settings: &Webhook) -> Result<Self, WebhookError> {
        let path = &settings.key_file;
        let key = std::fs::read(path).map_err(|source| WebhookError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let key = key.trim_ascii();
        if key.len() < KEY_BYTES_MIN {
            return Err(WebhookError::Short(path.clone()));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let (waiting, mut notices) = mpsc::channel::<String>(WAITING_MAX);
        let settings = settings.clone();
        tokio::spawn(async move {
            while let Some(notice) = notices.recv().await {
                deliver(&settings, &key, &notice).await;
            }
        });
        Ok(Self { waiting })
    }

    /// Hands in that an approval waits. Never waits: if too many are on their way, this one is dropped.
    pub fn tell(&self, approval: &ApprovalView, link: &str) {
        let notice = json!({
            "type": "approval_requested",
            "approval": approval.id,
            "session": approval.session,
            "gate": approval.gate,
            "deadline": approval.deadline,
            "link": format!("{link}/api/approvals/{}", approval.id),
        });
        if self.waiting.try_send(notice.to_string()).is_err() {
            tracing::warn!(approval = %approval.id, "notice of an approval dropped");
        }
    }
}

/// Returns the value of the field that signs a notice: the moment, and the HMAC-SHA-256 of the moment, a
/// dot and the notice.
fn signature(key: &hmac::Key, moment: i64, notice: &str) -> String {
    let tag = hmac::sign(key, format!("{moment}.{notice}").as_bytes());
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={moment},v1={hex}")
}

async fn deliver(settings: &Webhook, key: &hmac::Key, notice: &str) {
    let mut pause = PAUSE;
    for attempt in 1..=ATTEMPTS_MAX {
        let sent = timeout(SENT_WITHIN, send(settings, key, notice)).await;
        let why = match sent {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it takes too long".to_owned(),
        };
        tracing::warn!(attempt, why, "notice of an approval not delivered");
        if attempt < ATTEMPTS_MAX {
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
    }
}

async fn send(settings: &Webhook, key: &hmac::Key, notice: &str) -> io::Result<()> {
    let stream = TcpStream::connect((settings.host.as_str(), settings.port)).await?;
    if settings.tls {
        let mut stream = secured(stream, &settings.host).await?;
        post(&mut stream, settings, key, notice).await
    } else {
        let mut stream = stream;
        post(&mut stream, settings, key, notice).await
    }
}

async fn post(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    settings: &Webhook,
    key: &hmac::Key,
    notice: &str,
) -> io::Result<()> {
    let host = if settings.host.contains(':') {
        format!("[{}]", settings.host)
    } else {
        settings.host.clone()
    };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: loki-runtime/{version}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\
         X-Loki-Signature: {signature}\r\nConnection: close\r\n\r\n{notice}",
        path = settings.path,
        port = settings.port,
        version = env!("CARGO_PKG_VERSION"),
        length = notice.len(),
        signature = signature(key, clock::now().timestamp(), notice),
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    match &head {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            _,
            b' ',
            b'2',
            _,
            _,
        ] => Ok(()),
        other => {
            let said = String::from_utf8_lossy(other).into_owned();
            Err(io::Error::other(format!("the receiver says {said:?}")))
        }
    }
}

const KEY_BYTES_MIN: usize = 16;
const WAITING_MAX: usize = 64;
const ATTEMPTS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
const SENT_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;

    use super::signature;

    #[test]
    fn a_signature_covers_the_moment_and_the_notice() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let signed = signature(&key, 1_700_000_000, "{}");
        let (moment, tag) = signed.split_once(",v1=").expect("two parts");
        assert_eq!(moment, "t=1700000000");
        assert_eq!(tag.len(), 64);
        assert_ne!(
            signature(&key, 1_700_000_000, "{ }").split_once(",v1="),
            Some((moment, tag))
        );
        assert!(!signature(&key, 1_700_000_001, "{}").ends_with(tag));
    }
}
