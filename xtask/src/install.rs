//! Installing the servers that the demo and the end-to-end tests need: Debian's packages, and Synapse from Python's
//! registry in an environment of its own. Says what it does; what is there already is left alone.

use std::path::Path;
use std::process::Command;

use crate::run::{cache_dir, command, say, works};

const PACKAGES: [&str; 10] = [
    "prosody",
    "prosody-modules",
    "lua-unbound",
    "ejabberd",
    "postfix",
    "dovecot-core",
    "dovecot-imapd",
    "dovecot-lmtpd",
    "python3-venv",
    "ca-certificates",
];

/// The version of Synapse that the tests are written against.
const SYNAPSE: &str = "1.163.0";

/// Installs what is missing.
pub fn servers() -> Result<(), String> {
    packages(&PACKAGES)?;
    synapse()
}

/// Installs Debian packages, without starting their services.
fn packages(wanted: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> = wanted.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !works("apt-get", &["--version"]) {
        return Err(format!("this needs {}, and there is no apt-get; install them by hand", missing.join(", ")));
    }
    say(&format!("installing packages: {} (their services are not started)", missing.join(", ")));
    // The package manager asks this file whether it may start a service: not now.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let before = std::fs::read(policy).ok();
    run_as_root(&[
        "sh",
        "-c",
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d",
    ])?;
    let install = ["apt-get", "install", "-y", "--no-install-recommends"];
    let all: Vec<&str> = install.iter().copied().chain(missing.iter().copied()).collect();
    let result = run_as_root(&["apt-get", "update"]).and_then(|()| run_as_root(&all));
    match before {
        Some(before) => {
            let _ = std::fs::write(policy, before);
        }
        None => run_as_root(&["rm", "-f", "/usr/sbin/policy-rc.d"])?,
    }
    result
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f", "${Status}", package])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("install ok installed"))
}

fn run_as_root(args: &[&str]) -> Result<(), String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0"));
    let mut words = args.to_vec();
    if !root {
        if !works("sudo", &["-n", "true"]) {
            return Err(format!("this needs the rights of root: run `{}` first, or let sudo work", args.join(" ")));
        }
        words.insert(0, "sudo");
        words.insert(1, "-E");
    }
    command(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Installs Synapse with the system's Python.
fn synapse() -> Result<(), String> {
    let venv = cache_dir().join(format!("synapse-{SYNAPSE}"));
    let python = venv.join("bin").join("python");
    if works(&python.to_string_lossy(), &["-c", "import synapse.app.homeserver"]) {
        return Ok(());
    }
    say(&format!("installing Synapse {SYNAPSE} for Python in {}", venv.display()));
    std::fs::create_dir_all(cache_dir()).map_err(|error| error.to_string())?;
    command(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&venv))?;
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"];
    command(Command::new(&python).args(pip).arg(format!("matrix-synapse=={SYNAPSE}")))
}
