//! Connections: how many there may be, and how long they may dawdle.
//!
//! Axum's own accept loop has neither a limit nor a deadline for headers, so this one takes its place: a connection
//! beyond the limit is answered with 503, and one that sends nothing, or takes nothing, is closed.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
    serve::{Listener, ListenerExt},
};
use dacapo_core::access::Speaker;
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    pin,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::{http::error::HttpError, pace::TokenShare, patient::Patient, shared::Shared};

/// Connections beyond the limit that are being answered with 503 at once; more are dropped without a word, since a
/// refusal must not cost what the limit saves.
const REFUSALS_MAX: usize = 64;

/// The smallest that hyper allows: bounds the headers of a request.
const BUFFER_BYTES: usize = 16 << 10;

/// What a connection is let in with: its share of the limit, given back when the last that works for it is done, and who
/// speaks.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    _share: Arc<OwnedSemaphorePermit>,
    pub(super) speaker: Speaker,
    /// Its share of what the token may have open.
    pub(super) of_token: Option<Arc<TokenShare>>,
}

/// A TCP listener whose connections send small messages at once.
pub fn tcp(listener: TcpListener) -> impl Listener<Io = tokio::net::TcpStream, Addr = std::net::SocketAddr> {
    listener.tap_io(|stream| {
        // A connection without it works, only slower.
        let _ = stream.set_nodelay(true);
    })
}

/// Accepts until the server closes, then lets every request finish.
pub(super) async fn run<L: Listener>(mut listener: L, router: Router, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(shared.config.limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let io = tokio::select! {
            biased;
            () = shared.closing() => break,
            Some(_) = connections.join_next() => continue,
            (io, _) = listener.accept() => io,
        };
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            let service = Admitted {
                router: TowerToHyperService::new(router.clone()),
                permit: Permit { _share: Arc::new(permit), speaker: Speaker::Nobody, of_token: None },
            };
            connections.spawn(serve_connection(io, service, Arc::clone(&shared)));
        } else {
            shared.metrics.connections_refused.add(1);
            if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                let service = Refused { connections_max: shared.config.limits.connections_max, _permit: permit };
                connections.spawn(serve_connection(io, service, Arc::clone(&shared)));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection<I, S>(io: I, service: S, shared: Arc<Shared>)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.header_deadline)
        .max_buf_size(BUFFER_BYTES)
        // The date is the system's, which a simulation must not see.
        .auto_date_header(!shared.world.hooks.recording());
    let io = Patient::new(io, shared.config.write_deadline);
    let connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
    pin!(connection);
    let result = tokio::select! {
        biased;
        () = shared.closing() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        result = connection.as_mut() => result,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The router, with the connection's permit in each request.
struct Admitted {
    router: TowerToHyperService<Router>,
    permit: Permit,
}

impl Service<Request<Incoming>> for Admitted {
    type Response = Response;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.permit.clone());
        self.router.call(request)
    }
}

/// The answer to a connection beyond the limit.
struct Refused {
    connections_max: usize,
    _permit: OwnedSemaphorePermit,
}

impl Service<Request<Incoming>> for Refused {
    type Response = Response;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response, Infallible>>;

    fn call(&self, _request: Request<Incoming>) -> Self::Future {
        let mut response = HttpError::too_many_connections(self.connections_max).into_response();
        response.headers_mut().insert("connection", axum::http::HeaderValue::from_static("close"));
        std::future::ready(Ok(response.map(Body::new)))
    }
}
