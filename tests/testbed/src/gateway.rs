//! Portway itself.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::process::{free_port, write, write_private};
use crate::world::{HOST, SECRET, SERVER_NAME};
use crate::{PATIENCE, Result};

/// The gateway's configuration and its process while it runs.
pub struct Gateway {
    config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    environment: Vec<(String, String)>,
    /// Where the homeserver pushes transactions.
    pub appservice: u16,
    /// Where mail arrives.
    pub lmtp: u16,
    /// Where `/metrics` is.
    pub http: u16,
}

/// The binary that was built.
fn binary() -> Result<PathBuf> {
    std::env::var_os("PORTWAY_BIN")
        .map(PathBuf::from)
        .ok_or_else(|| "PORTWAY_BIN is not set; run cargo xtask".to_owned())
}

impl Gateway {
    /// A gateway that has no configuration yet.
    ///
    /// # Errors
    /// There is no free port.
    pub fn new(folder: &Path) -> Result<Self> {
        Ok(Self {
            config: folder.join("portway.toml"),
            log: folder.join("portway.log"),
            child: None,
            environment: Vec::new(),
            appservice: free_port()?,
            lmtp: free_port()?,
            http: free_port()?,
        })
    }

    /// Writes the configuration, with the ports of the servers. Only its owner can read it, as it should be.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, folder: &Path, component: u16, homeserver: u16, smarthost: u16) -> Result<()> {
        let Self { appservice, lmtp, http, .. } = self;
        write_private(
            &self.config,
            &format!(
                "[gateway]\ndata_dir = {data:?}\nallow = [\"{HOST}\"]\n\n[xmpp]\nhost = \"127.0.0.1\"\nport = {component}\n\n\
                 [http]\nlisten = \"127.0.0.1:{http}\"\npublic_url = \"http://127.0.0.1:{http}\"\n\n\
                 [media]\nfetch_allow = [\"127.0.0.1\"]\n\n\
                 [network.matrix]\ncomponent = \"matrix.{HOST}\"\nsecret = \"{SECRET}\"\nhomeserver = \"http://127.0.0.1:{homeserver}\"\n\
                 server_name = \"{SERVER_NAME}\"\nlisten = \"127.0.0.1:{appservice}\"\nas_token = \"as-{SECRET}\"\nhs_token = \"hs-{SECRET}\"\n\n\
                 [network.email]\ncomponent = \"mail.{HOST}\"\nsecret = \"{SECRET}\"\ndomain = \"mail.{HOST}\"\n\
                 listen = \"lmtp://127.0.0.1:{lmtp}\"\nsmarthost = \"smtp://127.0.0.1:{smarthost}\"\nbatch = \"1s\"\nretry_first = \"1s\"\n",
                data = folder.join("data"),
            ),
        )
    }

    /// From its next start on, a key of its configuration has this value: `NETWORK__MATRIX__STRANGERS`.
    pub fn set(&mut self, key: &str, value: &str) {
        self.environment.push((format!("PORTWAY_{key}"), value.to_owned()));
    }

    /// Where its configuration is.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Writes the registration for the homeserver.
    ///
    /// # Errors
    /// The gateway does not make one.
    pub async fn registration(&self, to: &Path) -> Result<()> {
        let (code, text, errors) = self.command(&["generate", "registration"]).await?;
        if code != 0 {
            return Err(format!("no registration: {errors}"));
        }
        write(to, &text)
    }

    /// Runs another command of the binary with this configuration: its exit code, and what it says on both outputs.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub async fn command(&self, args: &[&str]) -> Result<(i32, String, String)> {
        let mut command = Command::new(binary()?);
        command.args(args).arg("--config").arg(&self.config).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output =
            output.map_err(|_| format!("portway {args:?} does not end"))?.map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
    }

    /// Runs `portway admin` with these arguments; returns what it printed.
    ///
    /// # Errors
    /// It ends with a failure.
    pub async fn admin(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(binary()?)
            .arg("admin")
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .output()
            .await
            .map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Starts it and waits for the line `ready`.
    ///
    /// # Errors
    /// It does not become ready; the end of its log is in the text.
    pub async fn start(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| format!("{}: {error}", self.log.display()))?;
        let mut child = Command::new(binary()?)
            .args(["run", "--config"])
            .arg(&self.config)
            .env("PORTWAY_LOG", std::env::var("PORTWAY_LOG").unwrap_or_else(|_| "info".to_owned()))
            .env("PORTWAY_LOG_FORMAT", "text")
            .envs(self.environment.clone())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the gateway cannot be started: {error}"))?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        self.child = Some(child);
        let ready = async {
            loop {
                match lines.next_line().await {
                    Ok(Some(line)) if line == "ready" => return Ok(()),
                    Ok(Some(_)) => {}
                    _ => return Err("the gateway ended before it was ready".to_owned()),
                }
            }
        };
        let result =
            tokio::time::timeout(PATIENCE, ready).await.unwrap_or_else(|_| Err("it does not become ready".into()));
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        result.map_err(|error| format!("{error}\n{}", self.tail()))
    }

    /// Ends it at once (SIGKILL), and waits.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().await;
        }
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("the end of the gateway's log:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
    }
}
