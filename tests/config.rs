//! The configuration: faults, overrides, secrets, and the files that are generated from the table of keys.

use std::path::Path;

use portway::config::{ConfigFaults, check, example, load};

const GOOD: &str = "[network.loopback]\ncomponent = \"loopback.example.org\"\nsecret = \"hush\"\n";

fn faults(text: &str) -> Vec<String> {
    let settings = load::parse(Path::new("p.toml"), text);
    match settings.and_then(check::check) {
        Ok(_) => Vec::new(),
        Err(ConfigFaults(faults)) => faults,
    }
}

#[test]
fn every_fault_is_named_with_its_place_and_what_to_do() {
    for (text, fault) in [
        ("[gateway]\ndatadir = \"x\"\n", "p.toml:2: gateway.datadir: there is no such key; did you mean data_dir?"),
        (
            "[gatway]\ndata_dir = \"x\"\n",
            "p.toml:2: gatway.data_dir: there is no section [gatway]; did you mean gateway?",
        ),
        ("[network.matrx]\nsecret = \"x\"\n", "p.toml:2: there is no network “matrx”; did you mean matrix?"),
        ("[xmpp]\nport = 99999\n", "p.toml:2: xmpp.port: must be a number from 1 to 65535"),
        (
            "[http]\nlisten = \"here\"\n",
            "p.toml:2: http.listen: “here” is not an address; write it as \"127.0.0.1:8090\"",
        ),
        ("[media]\nmax_size = \"lots\"\n", "p.toml:2: media.max_size: “lots” is not a size; write it as \"100MiB\""),
        ("[media]\ncache = \"1 pile\"\n", "p.toml:2: media.cache: “1 pile” is not a size; write it as \"100MiB\""),
        ("[media]\nexpiry = \"5m\"\n", "p.toml:2: media.expiry: must be at least \"1h\""),
        (
            "[media]\nfetch_allow = [\"10.0.0.0/40\"]\n",
            "p.toml:2: media.fetch_allow: “10.0.0.0/40” is neither a host name nor a network",
        ),
        (
            "[http]\npublic_url = \"files.example.org\"\n",
            "p.toml:2: http.public_url: “files.example.org” is no URL; write it as \"https://files.example.org\"",
        ),
        ("[gateway]\nallow = \"x\"\n", "p.toml:2: gateway.allow: must be a list of texts, such as [\"example.org\"]"),
        ("[gateway]\nadmins = [\"a b@c\"]\n", "p.toml:2: gateway.admins: “a b@c”: not an XMPP address"),
        (
            "[gateway]\ncontact = [\"help@x\"]\n",
            "p.toml:2: gateway.contact: “help@x” must begin with mailto:, https: or xmpp:",
        ),
        ("[store]\nurl = \"mysql:x\"\n", "p.toml:2: store.url: this version knows only sqlite:FILE"),
        ("[network.loopback]\ncomponent = \"x.y\"\n", "p.toml:2: [network.loopback] secret is missing"),
        ("[network.loopback]\ncomponent = \"x.y\"\nsecret = \"\"\n", "p.toml:3: network.loopback.secret: is empty"),
        (
            "[network.loopback]\ncomponent = \"x.y\"\nsecret = \"s\"\nsecret_file = \"/f\"\n",
            "p.toml:4: network.loopback.secret_file: secret is set as well; keep one of them",
        ),
        ("[xmpp]\ntls = \"starttls\"\n", "p.toml:2: xmpp.tls: must be \"off\" or \"direct\""),
        ("[xmpp]\ntls_name = \"x\"\n", "p.toml:2: xmpp.tls_name: means nothing without tls = \"direct\""),
        (
            "[xmpp]\nhost = \"a b\"\ntls = \"direct\"\n",
            "p.toml:3: xmpp.tls: “a b” is no name that a certificate could have",
        ),
        ("[limits]\nuser_burst = 0\n", "p.toml:2: limits.user_burst: must be a number from 1 to"),
        (
            "[network.loopback]\ncomponent = \"x.y\"\nsecret = \"s\"\nlisten = 5\n",
            "p.toml:4: network.loopback.listen: must be text",
        ),
        (
            "[network.loopback]\ncomponent = \"x.y\"\nsecret = \"s\"\nstrangers = \"never\"\n",
            "p.toml:4: network.loopback.strangers: must be \"deliver\", \"ask\" or \"refuse\"",
        ),
        ("x = \n", "p.toml:1:"),
    ] {
        let found = faults(text);
        assert!(found.iter().any(|found| found.starts_with(fault)), "{fault}\nis missing in {found:#?}");
    }
    assert_eq!(faults(GOOD), Vec::<String>::new());
}

#[test]
fn the_environment_goes_before_the_file_and_secrets_may_be_in_files() {
    let mut settings = load::parse(Path::new("p.toml"), GOOD).unwrap();
    let secret = std::env::temp_dir().join(format!("pw-secret-{}", std::process::id()));
    std::fs::write(&secret, "from a file\n").unwrap();
    let environment = [
        ("PORTWAY_XMPP__PORT", "5999"),
        ("PORTWAY_GATEWAY__ALLOW", "[\"a.example\"]"),
        ("PORTWAY_NETWORK__LOOPBACK__COMPONENT", "other.example.org"),
        ("PORTWAY_LOG", "debug"),
        ("HOME", "/"),
    ];
    load::overlay(&mut settings, environment.map(|(name, value)| (name.to_owned(), value.to_owned())));
    settings.retain(|setting| setting.key != "secret");
    let name = "PORTWAY_NETWORK__LOOPBACK__SECRET_FILE".to_owned();
    load::overlay(&mut settings, [(name, secret.display().to_string())]);
    let config = check::check(settings).unwrap();
    std::fs::remove_file(&secret).unwrap();
    assert_eq!((config.xmpp_port, config.networks[0].component.as_str()), (5999, "other.example.org"));
    assert_eq!(config.networks[0].secret.reveal(), "from a file");
    let shown = check::show(&config);
    assert!(shown.contains("port = 5999  # environment PORTWAY_XMPP__PORT"), "{shown}");
    assert!(!shown.contains("from a file") && !format!("{config:?}").contains("from a file"), "{shown}");
}

/// Generated files are fresh. `UPDATE=1 cargo test --test config` writes them.
#[test]
fn generated_files_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in
        [("config/portway.example.toml", example::toml()), ("docs/src/admin/configuration.md", example::markdown())]
    {
        let path = root.join(path);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            text,
            "{} is stale: run with UPDATE=1",
            path.display()
        );
    }
}
