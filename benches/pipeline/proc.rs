//! What the kernel says of a process.

use std::time::Duration;

/// CPU time of a process so far, all threads.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name in parentheses and may hold spaces.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // Linux reports in hundredths of a second on all platforms we run on (USER_HZ).
    Duration::from_millis(ticks * 10)
}

/// Resident memory of a process in MiB.
pub fn rss_mib(pid: u32) -> f64 {
    memory(pid, "VmRSS:")
}

/// The most of it that there has been.
pub fn peak_mib(pid: u32) -> f64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, which: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
