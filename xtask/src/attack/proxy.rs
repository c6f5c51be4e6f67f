//! HTTP requests to the installation's Services, through the API server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::site::Site;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `kubectl proxy` on loopback. Drop ends it.
pub(super) struct Proxy {
    kubectl: Child,
    /// Address that kubectl listens on.
    address: String,
}

/// The answer of a Service.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Proxy {
    /// Starts kubectl.
    pub(super) fn start(site: &Site) -> Result<Self> {
        let mut kubectl = site.kube.kubectl(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = kubectl.stdout.take().context("kubectl proxy has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { kubectl, address })
    }

    /// Sends a request to a port of a Service in the namespace of the installation. `headers` are whole lines.
    pub(super) fn send(
        &self,
        site: &Site,
        (service, port): (&str, &str),
        (method, path): (&str, &str),
        headers: &[String],
        body: &str,
    ) -> Result<Response> {
        let path = site.fill(&format!("/api/v1/namespaces/%system/services/http:{service}:{port}/proxy{path}"));
        let lines: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let mut stream = TcpStream::connect(&self.address).context("kubectl proxy does not listen")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
        );
        // A server that refuses a large body can close the connection before it has read all of it.
        let sent = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let received = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let Some(status) = status else {
            sent?;
            received?;
            anyhow::bail!("no answer to {method} {path}");
        };
        Ok(Response { status, body: body.to_owned() })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
