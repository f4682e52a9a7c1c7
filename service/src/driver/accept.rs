//! The accept loop of a service's HTTP.
//!
//! Axum's own chooses at random between a connection that is ready and the word to end, which no seed could repeat; and
//! it waits for ever for a caller that sends nothing. This one does neither.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{pin, sync::Notify, task::JoinSet};

/// A caller that has not sent its headers by then is closed.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// The smallest that hyper allows: bounds the headers of a request.
const BUFFER_BYTES: usize = 16 << 10;

/// The word to end. Whoever waits for it hears it in the order in which they began to wait; tokio's `watch` would draw
/// lots.
#[derive(Debug, Default)]
pub(super) struct Stop {
    said: AtomicBool,
    hearers: Notify,
}

impl Stop {
    pub(super) fn say(&self) {
        self.said.store(true, Ordering::Release);
        self.hearers.notify_waiters();
    }

    async fn said(&self) {
        // Made before the look, so that what is said in between is heard.
        let heard = self.hearers.notified();
        if !self.said.load(Ordering::Acquire) {
            heard.await;
        }
    }
}

/// Accepts until `stop` is said, then lets every request finish. Dropping it drops the connections.
pub(super) async fn serve<L: Listener>(mut listener: L, router: Router, stop: Arc<Stop>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.said() => break,
            Some(_) = connections.join_next() => {}
            (io, _) = listener.accept() => {
                connections.spawn(serve_connection(io, router.clone(), Arc::clone(&stop)));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection<I>(io: I, router: Router, stop: Arc<Stop>)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(BUFFER_BYTES)
        // The date is the system's, which a simulation must not see; nobody who asks a service needs it.
        .auto_date_header(false);
    let connection = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    pin!(connection);
    let result = tokio::select! {
        biased;
        () = stop.said() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        result = connection.as_mut() => result,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
