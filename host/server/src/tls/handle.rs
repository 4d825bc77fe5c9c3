//! What a running node uses for new connections, and how it is replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use super::files::CertFileError;
use super::state::TlsState;

/// The certificates of a running node. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TlsHandle {
    dir: Arc<Path>,
    current: watch::Sender<Arc<TlsState>>,
}

impl TlsHandle {
    /// Reads and checks the files in a directory.
    ///
    /// # Errors
    /// A file can't be used.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, CertFileError> {
        let state = Arc::new(TlsState::read(&dir)?);
        Ok(Self {
            dir: dir.into(),
            current: watch::Sender::new(state),
        })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What new connections use.
    pub(crate) fn current(&self) -> Arc<TlsState> {
        Arc::clone(&self.current.borrow())
    }

    /// Reads the files again. All of them are used, or, if one can't be used, none.
    ///
    /// # Errors
    /// A file can't be used, or the certificate is that of another node. Nothing has changed then.
    pub(crate) fn reload(&self) -> Result<(), CertFileError> {
        let new = TlsState::read(&self.dir)?;
        let (own, other) = (self.current().identity().clone(), new.identity().clone());
        if own != other {
            return Err(CertFileError::Invalid {
                path: self.dir.join("node.crt"),
                reason: format!("it is the certificate of {other}, and this node is {own}"),
            });
        }
        self.current.send_replace(Arc::new(new));
        Ok(())
    }

    /// Completes when a certificate that was accepted is no longer accepted.
    pub(crate) async fn distrusted(self, chain: Vec<CertificateDer<'static>>) {
        let mut states = self.current.subscribe();
        // This handle holds the sender, so the channel does not close.
        let refuses = |state: &Arc<TlsState>| !state.still_accepts(&chain);
        drop(states.wait_for(refuses).await);
    }
}
