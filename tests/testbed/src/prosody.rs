//! Prosody.

use std::path::Path;

use tokio::process::Command;

use crate::Result;
use crate::process::{Server, write};
use crate::world::{HOST, PASSWORD, Ports, SECRET, USERS};

/// A Prosody with our users and components.
///
/// # Errors
/// Its files cannot be written.
pub fn server(folder: &Path, ports: Ports) -> Result<Server> {
    let data = folder.join("data");
    let accounts = data.join(HOST.replace('.', "%2e")).join("accounts");
    std::fs::create_dir_all(&accounts).map_err(|error| error.to_string())?;
    for user in USERS {
        write(&accounts.join(format!("{user}.dat")), &format!("return {{ [\"password\"] = \"{PASSWORD}\"; }};\n"))?;
    }
    let components: String = ["matrix", "mail"]
        .iter()
        .map(|name| {
            format!(
                "Component \"{name}.{HOST}\"\n  component_secret = \"{SECRET}\"\n  component_conflict_resolve = \"kick_old\"\n"
            )
        })
        .collect();
    // The community module of XEP-0356 comes with a package of its own.
    let privileges = Path::new("/usr/lib/prosody/modules/mod_privilege").exists();
    let (host, components) = match privileges {
        false => (String::new(), components),
        true => {
            let enabled = "modules_enabled = { \"privilege\" }\n";
            let entity = |name: &str| {
                format!(
                    "[\"{name}.{HOST}\"] = {{ roster = \"both\"; message = \"outgoing\"; presence = \"managed_entity\"; \
                     iq = {{ [\"http://jabber.org/protocol/pubsub\"] = \"both\"; \
                     [\"http://jabber.org/protocol/pubsub#owner\"] = \"set\" }} }};"
                )
            };
            let host = format!("{enabled}privileged_entities = {{ {} {} }}\n", entity("matrix"), entity("mail"));
            (host, components.replace("\nComponent", &format!("\n  {enabled}Component")) + "  " + enabled)
        }
    };
    let config = folder.join("prosody.cfg.lua");
    write(
        &config,
        &format!(
            "run_as_root = true\ndata_path = {data:?}\npidfile = {pid:?}\ninterfaces = {{ \"127.0.0.1\" }}\n\
             c2s_ports = {{ {c2s} }}\ncomponent_ports = {{ {component} }}\ncomponent_interfaces = {{ \"127.0.0.1\" }}\n\
             http_ports = {{ {http} }}\nhttp_interfaces = {{ \"127.0.0.1\" }}\nhttps_ports = {{}}\nhttp_default_host = \"{HOST}\"\n\
             modules_enabled = {{ \"roster\"; \"saslauth\"; \"disco\"; \"pep\"; \"mam\"; \"carbons\"; \"smacks\"; \"blocklist\"; \
             \"offline\"; \"bosh\"; \"websocket\"; \"vcard4\"; \"vcard_legacy\"; \"version\"; \"time\"; \"ping\" }}\n\
             modules_disabled = {{ \"s2s\" }}\nauthentication = \"internal_plain\"\nc2s_require_encryption = false\n\
             allow_unencrypted_plain_auth = true\nconsider_bosh_secure = true\nconsider_websocket_secure = true\n\
             cross_domain_bosh = true\ncross_domain_websocket = true\nlog = {{ info = \"*console\" }}\n\
             http_external_url = \"http://127.0.0.1:{http}/\"\nVirtualHost \"{HOST}\"\n{host}{components}\
             Component \"upload.{HOST}\" \"http_file_share\"\n  http_host = \"127.0.0.1\"\n",
            pid = folder.join("prosody.pid"),
            c2s = ports.c2s,
            component = ports.component,
            http = ports.http,
        ),
    )?;
    let log = folder.join("prosody.log");
    Ok(Server::new("Prosody", ports.component, log, move || {
        let mut command = Command::new("prosody");
        command.arg("--config").arg(&config).arg("-F");
        command
    }))
}
