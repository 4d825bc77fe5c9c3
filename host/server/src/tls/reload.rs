//! Reads the certificates again when a file changes, and on SIGHUP.

use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::handle::TlsHandle;

/// A tool writes certificate and key one after the other: a change is complete after this time without another one.
const SETTLED: Duration = Duration::from_millis(200);

/// What asks for the files to be read.
enum Request {
    /// A file has changed, or may have.
    Changed,
    /// SIGHUP.
    Signal,
}

/// Runs until it is aborted.
pub(crate) async fn run(tls: TlsHandle) {
    let (sender, mut reports) = mpsc::channel(1);
    // Kept: it reports as long as it exists.
    let watcher = match watch(&tls, sender) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, dir = %tls.dir().display(), "the directory of certificates is not watched: after a change of its files, send SIGHUP to this process");
            None
        }
    };
    let mut signals = match signal(SignalKind::hangup()) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP does not read the certificates again");
            return;
        }
    };
    loop {
        let request = tokio::select! {
            Some(()) = reports.recv(), if watcher.is_some() => Request::Changed,
            Some(()) = signals.recv() => Request::Signal,
        };
        if let Request::Changed = request {
            while let Ok(Some(())) = tokio::time::timeout(SETTLED, reports.recv()).await {}
        }
        reload(&tls).await;
    }
}

fn watch(tls: &TlsHandle, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |report: notify::Result<notify::Event>| {
        // Reading the files is an access too.
        if report.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        // If the queue is full, a change is reported already.
        let _ = changed.try_send(());
    })?;
    watcher.watch(tls.dir(), RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

async fn reload(tls: &TlsHandle) {
    let handle = tls.clone();
    let reloaded = tokio::task::spawn_blocking(move || handle.reload()).await;
    let dir = tls.dir().display();
    match reloaded {
        Ok(Ok(())) => {
            tracing::info!(%dir, "the certificates were read again; new connections use them");
        }
        Ok(Err(error)) => {
            tracing::error!(%error, %dir, "the certificates have changed and can't be used; the node goes on with those it has");
        }
        Err(error) => tracing::error!(%error, "reading the certificates panicked"),
    }
}
