//! Processes, ports and scratch directories.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use tokio::process::{Child, Command};

use crate::{Result, until};

/// A scratch directory that goes with its value. Its path is short: Unix sockets live in there.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("pw-{:08x}", rand::random::<u32>()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        // Servers that give up the rights of root must get in.
        open_to_all(&path)?;
        Ok(Self(path))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A folder in it.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        open_to_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("PORTWAY_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn open_to_all(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())
}

/// A port that is free now, and that nobody else is given meanwhile: below the range from which the system takes ports
/// for outgoing connections, and not twice by this process.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1000 {
        let port = rand::random_range(12_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
            return Ok(port);
        }
    }
    Err("no port is free".to_owned())
}

/// Writes a file.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// It cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|error| error.to_string())
}

/// A server: how it is started, and its process while it runs.
pub struct Server {
    name: &'static str,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    log: PathBuf,
    child: Option<Child>,
    port: u16,
}

impl Server {
    /// A server that does not run yet. It is up when something listens on `port`. What it prints goes to `log`.
    pub fn new(
        name: &'static str,
        port: u16,
        log: PathBuf,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        Self { name, command: Box::new(command), log, child: None, port }
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It does not start; the end of its log is in the text.
    pub async fn start(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| format!("{}: {error}", self.log.display()))?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = (self.command)();
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).kill_on_drop(true).spawn();
        self.child = Some(child.map_err(|error| format!("{} cannot be started: {error}", self.name))?);
        let port = self.port;
        let up = until("it listens", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok());
        let child = self.child.as_mut().ok_or("no process")?;
        let result = tokio::select! {
            result = up => result.map(|_| ()),
            status = child.wait() => Err(format!("it ended at once: {status:?}")),
        };
        result.map_err(|error| format!("{}: {error}\n{}", self.name, self.tail()))
    }

    /// Ends it as an admin would, and waits.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = child.id() {
            // The pid is that of a child that was not waited for yet, so it is still the same process.
            let _ = Command::new("kill").arg(pid.to_string()).status().await;
        }
        if tokio::time::timeout(std::time::Duration::from_secs(10), child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
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
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        format!("the end of {}'s log:\n{}", self.name, lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}
