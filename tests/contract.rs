//! The public contract (`docs/src/admin/command-line.md`), line by line: verbs, exit codes, where the configuration comes
//! from, what errors say, and what is never printed.

#[path = "support/binary.rs"]
#[allow(dead_code, unused_imports, reason = "only the scratch directory is needed here")]
mod binary;
#[path = "support/server.rs"]
#[allow(dead_code, reason = "the scratch directory's module names it")]
mod server;

use std::path::Path;
use std::process::{Command, Output};

use binary::Dir;

/// A configuration with every network and every secret.
fn full(dir: &Dir) -> String {
    format!(
        "[gateway]\ndata_dir = {:?}\n\
         [network.loopback]\ncomponent = \"loopback.example.org\"\nsecret = \"hush-loopback\"\n\
         [network.matrix]\ncomponent = \"matrix.example.org\"\nsecret = \"hush-matrix\"\nhomeserver = \"http://127.0.0.1:8008\"\n\
         server_name = \"example.org\"\nlisten = \"127.0.0.1:29320\"\nas_token = \"hush-as\"\nhs_token = \"hush-hs\"\n\
         [network.email]\ncomponent = \"mail.example.org\"\nsecret = \"hush-email\"\ndomain = \"mail.example.org\"\n\
         listen = \"lmtp://127.0.0.1:2424\"\nsmarthost = \"smtp://user:hush-smtp@127.0.0.1:25\"\n",
        dir.0.join("data")
    )
}

fn file(dir: &Dir, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.0.join("portway.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    path
}

/// The program with nothing of ours in its environment.
fn portway(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portway"));
    command.args(args).current_dir(dir).stdin(std::process::Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PORTWAY_")) {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_verb_works() {
    let dir = Dir::new();
    let path = file(&dir, &full(&dir));
    let config = path.to_str().unwrap();
    std::fs::create_dir(dir.0.join("data")).unwrap();
    let backup = dir.0.join("backup.db");
    let backup = backup.to_str().unwrap();
    for (args, expected) in [
        (vec!["check"], "the configuration is good: email, loopback, matrix"),
        (vec!["check", "--show"], "homeserver = \"http://127.0.0.1:8008\"  # "),
        (vec!["generate", "config"], "[network.matrix]"),
        (vec!["generate", "server", "prosody"], "Component \"matrix.example.org\""),
        (vec!["generate", "server", "ejabberd"], "global_routes: false"),
        (vec!["generate", "server", "openfire"], "External Components"),
        (vec!["generate", "server", "synapse"], "app_service_config_files"),
        (vec!["generate", "server", "postfix"], "transport_maps"),
        (vec!["generate", "registration"], "as_token"),
        (vec!["generate", "man"], ".TH portway 1"),
        (vec!["generate", "completions", "bash"], "_portway"),
        (vec!["generate", "completions", "zsh"], "#compdef portway"),
        (vec!["generate", "completions", "fish"], "complete -c portway"),
        (vec!["db", "migrate"], "schema"),
        (vec!["db", "backup", backup], "is written"),
        (vec!["db", "verify", backup], "is whole"),
        (vec!["db", "restore", "--force", backup], "is in place"),
        (vec!["admin", "queue"], ""),
        (vec!["admin", "queue", "--json"], ""),
        (vec!["admin", "queue", "--network", "loopback"], ""),
        (vec!["admin", "dead-letters"], ""),
        (vec!["admin", "users", "--network", "loopback"], ""),
        (vec!["admin", "links", "--network", "loopback", "--add", "a@b", "--user", "c@d.example"], "a@b is linked"),
        (vec!["admin", "links", "--network", "loopback"], "c@d.example a@b"),
        (vec!["admin", "rules", "--network", "loopback", "--deny", "*@bad.example"], "deny *@bad.example"),
        (vec!["admin", "rules", "--network", "loopback"], "deny *@bad.example"),
        (vec!["networks"], "loopback"),
        (vec!["version"], concat!("portway ", env!("CARGO_PKG_VERSION"))),
        (vec!["--version"], concat!("portway ", env!("CARGO_PKG_VERSION"))),
        (vec!["help"], "Exit codes: 0 ok, 1 failure, 2 configuration wrong, 64 usage."),
    ] {
        // The file may be named before and behind the verb.
        for args in
            [[&["--config", config], args.as_slice()].concat(), [args.as_slice(), &["--config", config]].concat()]
        {
            if args[0] != "--config" && (args.contains(&"help") || args.contains(&"--version")) {
                continue;
            }
            if args.contains(&"backup") {
                let _ = std::fs::remove_file(backup);
            }
            let output = portway(&dir.0, &args, &[]);
            assert_eq!(output.status.code(), Some(0), "{args:?}: {}", err(&output));
            assert!(out(&output).contains(expected), "{args:?}: {}", out(&output));
        }
    }
    let version: serde_json::Value =
        serde_json::from_slice(&portway(&dir.0, &["version", "--json"], &[]).stdout).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["networks"], serde_json::json!(["email", "loopback", "matrix"]));
}

/// What a verb's help lists works, and what does not work yet is not listed.
#[test]
fn help_lists_no_verb_that_does_nothing() {
    let dir = Dir::new();
    let help = out(&portway(&dir.0, &["help"], &[]));
    for verb in ["run", "init", "check", "generate", "admin", "db", "networks", "version"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {help}");
    }
    let listed = help.lines().any(|line| line.trim_start().starts_with("doctor"));
    let works = portway(&dir.0, &["doctor", "--help"], &[]).status.success();
    assert_eq!(listed, works, "a verb that comes later is not listed before it works");
}

#[test]
fn init_writes_a_configuration_that_check_accepts_and_never_replaces_one_unasked() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Dir::new();
    let init = [
        "init",
        "--yes",
        "--config",
        "portway.toml",
        "--domain",
        "example.org",
        "--server",
        "ejabberd",
        "--networks",
        "loopback,matrix,email",
    ];
    let output = portway(&dir.0, &init, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("ejabberd_service") && out(&output).contains("loopback.example.org"));
    let mode = std::fs::metadata(dir.0.join("portway.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    let before = std::fs::read(dir.0.join("portway.toml")).unwrap();
    let again = portway(&dir.0, &init, &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("--force"), "{}", err(&again));
    assert_eq!(std::fs::read(dir.0.join("portway.toml")).unwrap(), before);
    assert_eq!(portway(&dir.0, &["check"], &[]).status.code(), Some(0));
}

#[test]
fn each_exit_code_means_what_the_contract_says() {
    let dir = Dir::new();
    let path = file(&dir, &full(&dir));
    let config = path.to_str().unwrap();
    // 64: the command line.
    for args in [
        vec!["dance"],
        vec![],
        vec!["check", "--wat"],
        vec!["generate", "server", "sendmail"],
        vec!["generate", "completions", "cobol"],
        vec!["db", "verify"],
        vec!["admin"],
        vec!["admin", "original", "x"],
    ] {
        let output = portway(&dir.0, &args, &[]);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(err(&output).contains("Usage") || err(&output).contains("--help"), "{args:?}: {}", err(&output));
    }
    // 2: the configuration, whichever verb needs it.
    let bad = dir.0.join("bad.toml");
    std::fs::write(&bad, "[gateway]\nalow = [\"x\"]\n").unwrap();
    let bad = bad.to_str().unwrap();
    for verb in [
        vec!["run"],
        vec!["check"],
        vec!["generate", "server", "prosody"],
        vec!["generate", "registration"],
        vec!["db", "migrate"],
        vec!["admin", "queue"],
    ] {
        let output = portway(&dir.0, &[verb.as_slice(), &["--config", bad]].concat(), &[]);
        assert_eq!(output.status.code(), Some(2), "{verb:?}");
        // What, where, and how to mend it.
        let text = err(&output);
        assert!(text.contains("bad.toml:2: gateway.alow: there is no such key; did you mean allow?"), "{text}");
        let missing = portway(&dir.0, &[verb.as_slice(), &["--config", "nowhere.toml"]].concat(), &[]);
        assert_eq!(missing.status.code(), Some(2));
        assert!(err(&missing).contains("nowhere.toml"), "{}", err(&missing));
    }
    // 1: what fails while it runs.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = portway(&dir.0, &["run", "--config", config], &[("PORTWAY_HTTP__LISTEN", &listen)]);
    assert_eq!(output.status.code(), Some(1));
    let text = err(&output);
    assert!(text.contains(&listen) && text.contains("is another gateway running"), "{text}");
    let nobody = [("PORTWAY_XMPP__TLS", "direct"), ("SSL_CERT_FILE", "/nowhere.pem"), ("SSL_CERT_DIR", "/nowhere")];
    let output = portway(&dir.0, &["run", "--config", config], &nobody);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("xmpp.tls: no trusted certificate was found"), "{}", err(&output));
    for args in [
        vec!["db", "verify", "nothing.db"],
        vec!["admin", "original", "7"],
        vec!["admin", "queue", "--network", "nowhere"],
        // No gateway runs.
        vec!["admin", "do", "loopback", "queue"],
        vec!["admin", "queue", "--network", "loopback", "--retry", "7"],
        vec!["generate", "registration", "loopback"],
    ] {
        let output = portway(&dir.0, &[args.as_slice(), &["--config", config]].concat(), &[]);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(err(&output).starts_with("portway: "), "{args:?}: {}", err(&output));
    }
}

#[test]
fn the_configuration_is_the_named_file_or_etc_or_the_one_in_this_directory() {
    assert_eq!(portway::config::load::DEFAULT_PATHS, ["/etc/portway/portway.toml", "portway.toml"]);
    let dir = Dir::new();
    let has_system_wide = Path::new(portway::config::load::DEFAULT_PATHS[0]).exists();
    if !has_system_wide {
        let none = portway(&dir.0, &["check"], &[]);
        assert_eq!(none.status.code(), Some(2));
        let text = err(&none);
        assert!(
            text.contains("/etc/portway/portway.toml") && text.contains("./portway.toml") && text.contains("init"),
            "{text}"
        );
        file(&dir, &full(&dir));
        assert_eq!(portway(&dir.0, &["check"], &[]).status.code(), Some(0));
    }
    let other = Dir::new();
    let named = file(&other, &full(&other).replace("matrix.example.org", "named.example.org"));
    let shown = out(&portway(&dir.0, &["check", "--show", "--config", named.to_str().unwrap()], &[]));
    assert!(shown.contains("named.example.org"), "{shown}");
    let shown = out(&portway(&dir.0, &["check", "--show"], &[("PORTWAY_CONFIG", named.to_str().unwrap())]));
    assert!(shown.contains("named.example.org"), "{shown}");
}

/// Each key of the example (which is every key: `tests/config.rs`) as `PORTWAY_SECTION__KEY`, each secret as `…_file`.
#[test]
fn each_key_comes_from_the_environment_too_and_each_secret_from_a_file() {
    let dir = Dir::new();
    let path = file(&dir, &full(&dir));
    let config = path.to_str().unwrap();
    let value = |section: &str, key: &str| match (section, key) {
        ("gateway", "data_dir") => "/elsewhere",
        ("gateway", "admins") => "[\"nurse@example.org\"]",
        ("gateway", "contact") => "[\"mailto:help@example.org\"]",
        ("gateway", "allow") => "[\"a.example\", \"b@b.example\"]",
        ("gateway", "registration") => "required",
        ("xmpp", "host") => "localhost",
        ("xmpp", "port") => "5999",
        ("xmpp", "tls") => "direct",
        ("xmpp", "tls_name") => "tls.example.org",
        ("xmpp", "server") => "server.example.org",
        ("store", "url") => "sqlite:other.db",
        ("http", "listen") => "127.0.0.1:8099",
        ("http", "public_url") => "https://files.example.org",
        ("media", "max_size") => "7MiB",
        ("media", "fetch_allow") => "[\"10.0.0.0/8\"]",
        ("media", "cache") => "3GiB",
        ("media", "expiry") => "9d",
        ("limits", _) => "77",
        ("network", "component") => "env.example.org",
        ("network", "secret") => "hush-env",
        ("network", "strangers") => "ask",
        other => panic!("{other:?} has no value here: add one"),
    };
    for key in portway::config::keys::KEYS {
        let section = if key.section == "network" { "network.loopback" } else { key.section };
        let name = format!("PORTWAY_{}__{}", section.replace('.', "__"), key.name).to_uppercase();
        let value = value(key.section, key.name);
        let more = if key.name == "tls_name" { vec![("PORTWAY_XMPP__TLS", "direct")] } else { Vec::new() };
        let environment = [vec![(name.as_str(), value)], more].concat();
        let output = portway(&dir.0, &["check", "--show", "--config", config], &environment);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", err(&output));
        let line = format!("# environment {name}");
        let shown = out(&output);
        let shown = shown.lines().find(|shown| shown.ends_with(&line)).unwrap_or_else(|| panic!("{name}: {shown}"));
        assert!(shown.starts_with(&format!("{} = ", key.name)), "{shown}");
        assert_eq!(shown.contains("(redacted)"), key.secret, "{shown}");
        assert!(key.secret || shown.contains(value.trim_matches(['[', ']'])), "{shown}");
    }
    let settings: toml::Table = full(&dir).parse().unwrap();
    for network in portway_bridges::NETWORKS {
        let descriptor = network.describe();
        let secrets = descriptor.secret_keys.iter().copied().chain(["secret"]);
        for key in secrets {
            let held = dir.0.join("held");
            let now = settings["network"][descriptor.id].get(key).and_then(|now| now.as_str());
            std::fs::write(&held, format!("{}\n", now.unwrap_or("hush-from-a-file"))).unwrap();
            let name = format!("PORTWAY_NETWORK__{}__{key}_FILE", descriptor.id).to_uppercase();
            let run =
                |value: &str| portway(&dir.0, &["check", "--show", "--config", config], &[(name.as_str(), value)]);
            let output = run(held.to_str().unwrap());
            assert_eq!(output.status.code(), Some(0), "{name}: {}", err(&output));
            assert!(out(&output).contains(&format!("{key} = (redacted)  # environment {name}")), "{}", out(&output));
            let missing = run("/nowhere/at/all");
            assert_eq!(missing.status.code(), Some(2), "{name}");
            assert!(err(&missing).contains("/nowhere/at/all") && err(&missing).contains(&name), "{}", err(&missing));
        }
    }
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion_also_from_the_environment() {
    let dir = Dir::new();
    let text = full(&dir) + "as_tokn = \"x\"\n[xmp]\nhost = \"x\"\n";
    let path = file(&dir, &text);
    let output = portway(
        &dir.0,
        &["check", "--config", path.to_str().unwrap()],
        &[("PORTWAY_XMPP__PROT", "1"), ("PORTWAY_STOER__URL", "x")],
    );
    assert_eq!(output.status.code(), Some(2));
    let text = err(&output);
    for fault in [
        "portway.toml:20: network.email.as_tokn: there is no such key",
        "portway.toml:22: xmp.host: there is no section [xmp]; did you mean xmpp?",
        "environment PORTWAY_XMPP__PROT: xmpp.prot: there is no such key; did you mean port?",
        "environment PORTWAY_STOER__URL: stoer.url: there is no section [stoer]; did you mean store?",
    ] {
        assert!(text.contains(fault), "{fault}\nis missing in\n{text}");
    }
}

#[test]
fn l13_a_secret_that_would_go_in_the_clear_to_another_machine_is_warned_of() {
    let dir = Dir::new();
    let path = file(&dir, &full(&dir));
    let check = |environment: &[(&str, &str)]| {
        let files = ("PORTWAY_HTTP__PUBLIC_URL", "https://files.example.org");
        let environment = &[&[files], environment].concat();
        let output = portway(&dir.0, &["check", "--config", path.to_str().unwrap()], environment);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        err(&output)
    };
    let away = ("PORTWAY_XMPP__HOST", "xmpp.example.org");
    let warning = check(&[away]);
    assert!(warning.contains("xmpp.example.org") && warning.contains("xmpp.tls = \"direct\""), "{warning}");
    assert_eq!(check(&[away, ("PORTWAY_XMPP__TLS", "direct")]), "");
    assert_eq!(check(&[("PORTWAY_XMPP__HOST", "::1")]), "");
}

/// A default that works on one machine only is not passed over in silence.
#[test]
fn f4_a_place_for_files_that_clients_do_not_reach_is_warned_of() {
    let dir = Dir::new();
    let path = file(&dir, &full(&dir));
    let check = |url: &str| {
        let output =
            portway(&dir.0, &["check", "--config", path.to_str().unwrap()], &[("PORTWAY_HTTP__PUBLIC_URL", url)]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        err(&output)
    };
    for (url, warning) in [
        ("http://127.0.0.1:8090", "is this machine itself"),
        ("https://localhost", "is this machine itself"),
        ("https://[::1]:8090", "is this machine itself"),
        ("http://files.example.org", "is not encrypted"),
    ] {
        let warned = check(url);
        assert!(warned.contains("http.public_url") && warned.contains(warning), "{url}: {warned}");
    }
    assert_eq!(check("https://files.example.org/gateway"), "");
}

#[test]
fn s9_no_verb_prints_a_secret_unless_it_is_for_the_other_server() {
    let dir = Dir::new();
    let path = file(&dir, &full(&dir));
    let config = path.to_str().unwrap();
    for args in [
        vec!["check", "--show"],
        vec!["check"],
        vec!["networks"],
        vec!["admin", "queue"],
        vec!["generate", "config"],
        vec!["generate", "server", "synapse"],
        vec!["generate", "server", "postfix"],
    ] {
        let output = portway(&dir.0, &[args.as_slice(), &["--config", config]].concat(), &[("PORTWAY_LOG", "trace")]);
        assert!(!out(&output).contains("hush") && !err(&output).contains("hush"), "{args:?}: {}", out(&output));
    }
    let settings = portway::config::load::parse(&path, &full(&dir)).unwrap();
    let config = portway::config::check::check(settings).unwrap();
    assert!(!format!("{config:?}").contains("hush-"), "{config:?}");
}
