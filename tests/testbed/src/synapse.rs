//! Synapse.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Result;
use crate::process::{Server, write};
use crate::world::SERVER_NAME;

/// The Python of the environment in which Synapse is installed.
fn python() -> Result<PathBuf> {
    let cache =
        std::env::var_os("PORTWAY_CACHE").map(PathBuf::from).ok_or("PORTWAY_CACHE is not set; run cargo xtask")?;
    let folders = std::fs::read_dir(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    folders
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("synapse-"))
        .map(|entry| entry.path().join("bin").join("python"))
        .find(|python| python.exists())
        .ok_or_else(|| "Synapse is not installed; run cargo xtask".to_owned())
}

/// A Synapse with our application service.
///
/// # Errors
/// Its files cannot be written, or it is not installed.
pub async fn server(folder: &Path, port: u16, registration: &Path) -> Result<Server> {
    let python = python()?;
    let config = folder.join("homeserver.yaml");
    let limits: String = [
        "rc_message",
        "rc_registration",
        "rc_joins_per_room",
        "rc_3pid_validation",
        "rc_admin_redaction",
        "rc_presence_dummy",
    ]
    .iter()
    .filter(|name| **name != "rc_presence_dummy")
    .map(|name| format!("{name}:\n  per_second: 10000\n  burst_count: 10000\n"))
    .collect();
    write(
        &config,
        &format!(
            "server_name: \"{SERVER_NAME}\"\npid_file: {pid:?}\nlisteners:\n  - port: {port}\n    type: http\n    tls: false\n\
             \x20   bind_addresses: [\"127.0.0.1\"]\n    resources:\n      - names: [client]\n        compress: false\n\
             database:\n  name: sqlite3\n  args:\n    database: {db:?}\nlog_config: {log:?}\nmedia_store_path: {media:?}\n\
             signing_key_path: {key:?}\nreport_stats: false\nenable_registration: true\nenable_registration_without_verification: true\n\
             bcrypt_rounds: 4\ntrusted_key_servers: []\nsuppress_key_server_warning: true\nfederation_domain_whitelist: []\n\
             macaroon_secret_key: \"not a secret\"\nform_secret: \"not a secret\"\nfilter_timeline_limit: 5000\n\
             allow_public_rooms_without_auth: true\napp_service_config_files: [{registration:?}]\n{limits}\
             rc_login:\n  address: {{per_second: 10000, burst_count: 10000}}\n  account: {{per_second: 10000, burst_count: 10000}}\n\
             \x20 failed_attempts: {{per_second: 10000, burst_count: 10000}}\n\
             rc_joins:\n  local: {{per_second: 10000, burst_count: 10000}}\n  remote: {{per_second: 10000, burst_count: 10000}}\n\
             rc_invites:\n  per_room: {{per_second: 10000, burst_count: 10000}}\n  per_user: {{per_second: 10000, burst_count: 10000}}\n\
             \x20 per_issuer: {{per_second: 10000, burst_count: 10000}}\nrc_room_creation: {{per_second: 10000, burst_count: 10000}}\n",
            pid = folder.join("pid"),
            db = folder.join("db.sqlite"),
            log = folder.join("log.yaml"),
            media = folder.join("media"),
            key = folder.join("signing.key"),
        ),
    )?;
    write(
        &folder.join("log.yaml"),
        "version: 1\nformatters:\n  plain:\n    format: '%(asctime)s %(levelname)s %(name)s %(message)s'\nhandlers:\n  console:\n    class: logging.StreamHandler\n    formatter: plain\nroot:\n  level: WARNING\n  handlers: [console]\n",
    )?;
    let keys = Command::new(&python)
        .args(["-m", "synapse.app.homeserver", "--generate-keys", "-c"])
        .arg(&config)
        .current_dir(folder)
        .output()
        .await
        .map_err(|error| error.to_string())?;
    if !keys.status.success() {
        return Err(format!("Synapse makes no keys: {}", String::from_utf8_lossy(&keys.stderr)));
    }
    let folder = folder.to_owned();
    let log = folder.join("synapse.log");
    Ok(Server::new("Synapse", port, log, move || {
        let mut command = Command::new(&python);
        command.args(["-m", "synapse.app.homeserver", "-c"]).arg(&config).current_dir(&folder);
        command
    }))
}
