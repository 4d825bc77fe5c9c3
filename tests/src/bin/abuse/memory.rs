//! The memory of a process, as Linux tells it.

/// Resident memory now, in MiB.
pub(super) fn resident_mib(pid: u32) -> u64 {
    field(pid, "VmRSS:")
}

/// The largest resident memory so far, in MiB.
pub(super) fn peak_mib(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

fn field(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
