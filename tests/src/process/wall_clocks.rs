//! Nodes with wall clocks that a test sets, also while they run.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use super::cluster::Cluster;

const SOURCE: &str = include_str!("wall_clock.c");

/// One wall clock for each node of a cluster.
pub struct WallClocks(Vec<File>);

impl WallClocks {
    /// Replaces the wall clocks of a cluster that has not been started. They are right until they are set.
    ///
    /// # Panics
    /// If the system has no `gcc`, or it can't build a shared library.
    pub fn of(cluster: &mut Cluster) -> Self {
        let [source, library] =
            ["wall_clock.c", "wall_clock.so"].map(|name| cluster.dir().join(name));
        std::fs::write(&source, SOURCE).expect("the source is written");
        let built = Command::new("gcc")
            .args([
                "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
            ])
            .args([&library, &source])
            .output()
            .expect("gcc, which the build of Oarlock needs as well");
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "gcc fails on {SOURCE}\n{errors}");
        let dir = cluster.dir().to_owned();
        let clocks = cluster.nodes.iter_mut().map(|node| {
            let path = dir.join(format!("{}.clock", node.id()));
            std::fs::write(&path, 0_i64.to_ne_bytes()).expect("the clock is written");
            let environment = [
                "env".to_owned(),
                format!("LD_PRELOAD={}", library.display()),
                format!("OARLOCK_TEST_CLOCK={}", path.display()),
            ];
            node.options_mut().within.extend(environment);
            let opened = File::options().write(true).open(&path);
            opened.expect("the clock is opened")
        });
        Self(clocks.collect())
    }

    /// Sets the clock of the node at this position: ahead of the machine's by these milliseconds, or behind it.
    ///
    /// # Panics
    /// If its file can't be written.
    pub fn set_ahead_ms(&self, at: usize, ahead_ms: i64) {
        let written = self.0[at].write_all_at(&ahead_ms.to_ne_bytes(), 0);
        written.expect("the clock is set");
    }
}
