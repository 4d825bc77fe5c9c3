//! Test environments that need root: file systems of a few MiB, and network namespaces. Without permission the test gets an
//! error and prints it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why something can't be set up here.
#[derive(Debug)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn system(args: &[&str]) -> Result<(), Unavailable> {
    let line = args.join(" ");
    let output = Command::new(args[0]).args(&args[1..]).output();
    let output = output.map_err(|error| Unavailable(format!("{line}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Unavailable(format!("{line}: {}", stderr.trim())))
}

/// A file system in memory, of a given size; unmounted on drop.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts one of `size` (as in `8m`) on a directory, which is made.
    ///
    /// # Errors
    /// Where that is not permitted.
    ///
    /// # Panics
    /// If the directory can't be made.
    pub fn tmpfs(at: &Path, size: &str) -> Result<Self, Unavailable> {
        std::fs::create_dir_all(at).expect("a directory");
        let options = format!("size={size}");
        let place = at.display().to_string();
        system(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &place])?;
        Ok(Self(at.to_owned()))
    }

    /// Gives it another size.
    ///
    /// # Panics
    /// If that is not permitted.
    pub fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let resized = system(&["mount", "-o", &options, &self.0.display().to_string()]);
        resized.expect("what could be mounted can be resized");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process that still writes there keeps it busy: detach it anyway.
        if let Err(error) = system(&["umount", "-l", &self.0.display().to_string()]) {
            eprintln!("a file system is left behind: {error}");
        }
    }
}

/// Separate network namespaces for several nodes, on one bridge; removed on drop.
pub struct NetNamespaces {
    name: String,
    subnet: u32,
    count: usize,
}

impl NetNamespaces {
    /// Sets up `count` of them.
    ///
    /// # Errors
    /// Where that is not permitted, or the system lacks `ip`.
    pub fn new(count: usize) -> Result<Self, Unavailable> {
        let pid = std::process::id();
        let networks = Self {
            // Names of interfaces have at most 15 characters.
            name: format!("oar{}", pid % 1_000_000),
            subnet: pid % 250,
            count,
        };
        networks.set_up()?;
        Ok(networks)
    }

    fn set_up(&self) -> Result<(), Unavailable> {
        let bridge = &self.name;
        system(&["ip", "link", "add", bridge, "type", "bridge"])?;
        let host = format!("{}/24", self.address_of(254));
        system(&["ip", "addr", "add", &host, "dev", bridge])?;
        system(&["ip", "link", "set", bridge, "up"])?;
        for at in 0..self.count {
            let (space, outer) = (self.namespace(at), format!("{bridge}v{at}"));
            let own = format!("{}/24", self.address(at));
            system(&["ip", "netns", "add", &space])?;
            system(&[
                "ip", "link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns",
                &space,
            ])?;
            system(&["ip", "link", "set", &outer, "master", bridge, "up"])?;
            system(&["ip", "-n", &space, "addr", "add", &own, "dev", "eth0"])?;
            system(&["ip", "-n", &space, "link", "set", "eth0", "up"])?;
            system(&["ip", "-n", &space, "link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    fn namespace(&self, at: usize) -> String {
        format!("{}n{at}", self.name)
    }

    fn address_of(&self, host: usize) -> String {
        format!("10.251.{}.{host}", self.subnet)
    }

    /// The address of the node at this position.
    pub fn address(&self, at: usize) -> String {
        self.address_of(at + 1)
    }

    /// The prefix of a command that runs there.
    pub fn within(&self, at: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(at)]
            .map(str::to_owned)
            .to_vec()
    }

    /// What `from` sends goes nowhere where it is for `to`.
    ///
    /// # Panics
    /// If that is not permitted.
    pub fn cut(&self, from: usize, to: usize) {
        let (space, address) = (self.namespace(from), self.address(to));
        let cut = system(&["ip", "-n", &space, "route", "add", "blackhole", &address]);
        cut.expect("what could be set up can be cut");
    }

    /// It arrives again.
    ///
    /// # Panics
    /// If it was not cut.
    pub fn heal(&self, from: usize, to: usize) {
        let (space, address) = (self.namespace(from), self.address(to));
        let healed = system(&["ip", "-n", &space, "route", "del", "blackhole", &address]);
        healed.expect("what was cut can be healed");
    }
}

impl Drop for NetNamespaces {
    fn drop(&mut self) {
        // What was not set up is not there to be taken down.
        for at in 0..self.count {
            let _ = system(&["ip", "netns", "del", &self.namespace(at)]);
        }
        let _ = system(&["ip", "link", "del", &self.name]);
    }
}
