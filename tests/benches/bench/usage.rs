//! What a process has used: processor time, bytes written to disk. From `/proc`, so Linux only; elsewhere all is 0.

use std::fs;
use std::time::Duration;

/// Of one process, or of several together, since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Time of processors.
    pub(crate) cpu: Duration,
    /// Bytes that were handed to the disk.
    pub(crate) written: u64,
}

impl Usage {
    /// Of these processes together.
    pub(crate) fn of(pids: &[u32]) -> Self {
        pids.iter().map(|&pid| Self::of_one(pid)).fold(
            Self::default(),
            |Self { cpu, written }, one| Self {
                cpu: cpu + one.cpu,
                written: written + one.written,
            },
        )
    }

    /// Of this process.
    pub(crate) fn own() -> Self {
        Self::of_one(std::process::id())
    }

    fn of_one(pid: u32) -> Self {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        Self {
            cpu: cpu_of(&threads_time(pid)).unwrap_or_else(|| ticks_of(&read("stat"))),
            written: written_of(&read("io")),
        }
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            written: self.written.saturating_sub(earlier.written),
        }
    }
}

/// The first field of each thread's `schedstat`: nanoseconds on a processor.
fn threads_time(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .collect()
}

/// Their sum; none where the kernel keeps no such statistics.
fn cpu_of(schedstats: &[String]) -> Option<Duration> {
    let times: Option<Vec<u64>> = schedstats
        .iter()
        .map(|text| text.split_whitespace().next()?.parse().ok())
        .collect();
    let sum: u64 = times?.iter().sum();
    (sum > 0).then(|| Duration::from_nanos(sum))
}

/// Fields 14 and 15 of `stat`, in hundredths of a second. The name before them may hold anything but `)` at its end.
fn ticks_of(stat: &str) -> Duration {
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return Duration::ZERO;
    };
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

fn written_of(io: &str) -> u64 {
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_parsed() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 5 1 1";
        assert_eq!(ticks_of(stat), Duration::from_secs(3));
        assert_eq!(written_of("rchar: 1\nwrite_bytes: 4096\n"), 4096);
        assert_eq!(
            cpu_of(&["12 5 1\n".to_owned(), "30 1 1\n".to_owned()]),
            Some(Duration::from_nanos(42))
        );
        assert_eq!(cpu_of(&["".to_owned()]), None);
    }
}
