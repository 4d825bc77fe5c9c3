//! The client of a query, as the state machine sees it: it takes one response, and may go away before.

use std::sync::{Arc, Weak};

use crate::ids::Index;

/// Held while a client waits for its response. Dropped, the client has gone.
#[derive(Debug, Default)]
pub struct WaitingClient(Arc<()>);

impl WaitingClient {
    /// Shows whether this client still waits.
    #[must_use]
    pub fn watch(&self) -> ClientWatch {
        ClientWatch(Some(Arc::downgrade(&self.0)))
    }
}

/// Shows whether a client still waits for its response. Cheap to clone. The default is a client that always waits.
#[derive(Clone, Debug, Default)]
pub struct ClientWatch(Option<Weak<()>>);

impl ClientWatch {
    /// Whether the client has gone: it has disconnected, or its deadline has passed. Nothing needs the response any more.
    #[must_use]
    pub fn has_gone(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|client| client.strong_count() == 0)
    }
}

/// Receives the response to a query, and the index of the entry after which the state was read.
pub struct QueryCallback<R> {
    respond: Box<dyn FnOnce(Index, R) + Send>,
    client: ClientWatch,
}

impl<R> std::fmt::Debug for QueryCallback<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryCallback")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl<R> QueryCallback<R> {
    /// Calls `respond` with the response.
    #[must_use]
    pub fn new(respond: impl FnOnce(Index, R) + Send + 'static) -> Self {
        Self {
            respond: Box::new(respond),
            client: ClientWatch::default(),
        }
    }

    /// The same, for a client that may go away before.
    #[must_use]
    pub fn for_client(mut self, client: ClientWatch) -> Self {
        self.client = client;
        self
    }

    /// Shows whether the client still waits. A machine may end a query whose client has gone, and drop the callback.
    #[must_use]
    pub fn client(&self) -> &ClientWatch {
        &self.client
    }

    /// Completes the query.
    pub fn respond(self, at: Index, response: R) {
        (self.respond)(at, response);
    }
}
