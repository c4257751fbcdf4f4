//! ejabberd, without Erlang's distribution: no daemon of its own, no cookie.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Result;
use crate::process::{Server, write};
use crate::world::{HOST, PASSWORD, Ports, SECRET, USERS};

/// An ejabberd with our components. Its users are made by [`users`] once it runs.
///
/// # Errors
/// Its files cannot be written, or it is not installed.
pub fn server(folder: &Path, ports: Ports) -> Result<Server> {
    let library = library()?;
    let config = folder.join("ejabberd.yml");
    let hosts: String = ["matrix", "mail"]
        .iter()
        .map(|name| format!("      \"{name}.{HOST}\":\n        password: \"{SECRET}\"\n"))
        .collect();
    write(
        &config,
        &format!(
            "hosts:\n  - \"{HOST}\"\nloglevel: info\nlog_rotate_size: infinity\nauth_method: internal\nauth_password_format: plain\n\
             s2s_access: none\nacl:\n  portway:\n    server: [\"matrix.{HOST}\", \"mail.{HOST}\"]\naccess_rules:\n  portway:\n    allow: portway\n\
             acme:\n  auto: false\ncertfiles: []\nlisten:\n  -\n    port: {c2s}\n    ip: \"127.0.0.1\"\n    module: ejabberd_c2s\n\
             \x20   starttls: false\n  -\n    port: {component}\n    ip: \"127.0.0.1\"\n    module: ejabberd_service\n    access: all\n\
             \x20   global_routes: false\n    shaper: none\n    hosts:\n{hosts}  -\n    port: {http}\n    ip: \"127.0.0.1\"\n    module: ejabberd_http\n\
             \x20   request_handlers:\n      /api: mod_http_api\n      /ws: ejabberd_http_ws\n      /bosh: mod_bosh\n      /upload: mod_http_upload\n\
             api_permissions:\n  \"all\":\n    who:\n      - ip: 127.0.0.1/8\n    what: \"*\"\n\
             shaper:\n  fast: 10000000\nmodules:\n  mod_http_api: {{}}\n  mod_bosh: {{}}\n  mod_disco: {{}}\n  mod_roster: {{}}\n  mod_privacy: {{}}\n  mod_blocking: {{}}\n  mod_ping: {{}}\n  mod_offline: {{}}\n\
             \x20 mod_caps: {{}}\n  mod_carboncopy: {{}}\n  mod_mam:\n    default: always\n  mod_stream_mgmt: {{}}\n  mod_version: {{}}\n  mod_time: {{}}\n  mod_vcard: {{}}\n\
             \x20 mod_pubsub:\n    plugins: [flat, pep]\n  mod_privilege:\n    roster:\n      both: portway\n    message:\n      outgoing: portway\n    presence:\n      managed_entity: portway\n\
             \x20 mod_http_upload:\n    access: all\n    docroot: {docroot:?}\n    put_url: \"http://127.0.0.1:{http}/upload\"\n\
             \x20   custom_headers:\n      \"Access-Control-Allow-Origin\": \"*\"\n\
             \x20     \"Access-Control-Allow-Methods\": \"GET,HEAD,PUT,OPTIONS\"\n\
             \x20     \"Access-Control-Allow-Headers\": \"Content-Type\"\n",
            docroot = folder.join("upload"),
            c2s = ports.c2s,
            component = ports.component,
            http = ports.http,
        ),
    )?;
    let inetrc = folder.join("inetrc");
    write(&inetrc, "{lookup,[\"file\",\"native\"]}.\n")?;
    let mnesia = folder.join("mnesia");
    let log = folder.join("ejabberd-stdout.log");
    let folder = folder.to_owned();
    Ok(Server::new("ejabberd", ports.component, log, move || {
        let mut command = Command::new("erl");
        command
            .args(["-noinput", "+K", "true", "-mnesia", "dir"])
            .arg(format!("{mnesia:?}"))
            .args(["-s", "ejabberd"])
            .env("ERL_LIBS", &library)
            .env("EJABBERD_CONFIG_PATH", &config)
            .env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"))
            .env("ERL_INETRC", &inetrc)
            .env("HOME", &folder)
            .current_dir(&folder);
        command
    }))
}

/// Where Debian keeps the library: the folder above `ejabberd-VERSION`.
fn library() -> Result<PathBuf> {
    let root = Path::new("/usr/lib");
    let folders = std::fs::read_dir(root).map_err(|error| error.to_string())?;
    let mut candidates: Vec<PathBuf> = folders.flatten().map(|entry| entry.path()).collect();
    candidates.push(root.to_owned());
    let holds = |folder: &PathBuf| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.path().join("ebin/ejabberd.beam").exists())
    };
    candidates.into_iter().find(holds).ok_or_else(|| "ejabberd is not installed".to_owned())
}

/// Makes our users, over the HTTP interface.
///
/// # Errors
/// It refuses.
pub async fn users(ports: Ports) -> Result<()> {
    for user in USERS {
        let body = serde_json::json!({ "user": user, "host": HOST, "password": PASSWORD });
        let uri = format!("http://127.0.0.1:{}/api/register", ports.http);
        let (status, answer) = crate::matrix::http("POST", &uri, None, Some(&body)).await?;
        // A second start finds them there.
        if status != 200 && status != 409 {
            return Err(format!("ejabberd does not register {user}: {status} {answer}"));
        }
    }
    Ok(())
}
