//! Connections: turmoil's streams and listeners, with what turmoil lacks. A stream can be broken off from outside, goes
//! quiet when its process is dead, and vanishes without a word when its host died silently.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use dacapo_core::NodeName;
use dacapo_service::driver::Connect;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};
use turmoil::net::{TcpListener, TcpStream};

use super::stage::{Life, Reachable, Stage};
use crate::{cast, engine::faults::Way};

/// The port on which a bus listens.
pub(super) const BUS_PORT: u16 = 7_070;
/// The port on which an instance listens.
pub(super) const SERVICE_PORT: u16 = 80;

/// Breaks a stream off from outside.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    broken: AtomicBool,
    wakers: Mutex<[Option<Waker>; 2]>,
}

impl Breaker {
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    fn check(&self, side: usize, context: &Context<'_>) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)[side] = Some(context.waker().clone());
        Ok(())
    }
}

/// One end of a connection.
pub(super) struct SimStream {
    /// None only while it is dropped.
    inner: Option<TcpStream>,
    life: Arc<Life>,
    stage: Arc<Stage>,
    breaker: Arc<Breaker>,
}

impl SimStream {
    fn new(stage: &Arc<Stage>, life: &Arc<Life>, peer: &NodeName, inner: TcpStream) -> Self {
        let breaker = Arc::new(Breaker::default());
        stage.register_breaker(&life.host, peer, &breaker);
        Self { inner: Some(inner), life: Arc::clone(life), stage: Arc::clone(stage), breaker }
    }

    /// The stream below, unless its process is dead or the connection was broken off.
    fn poll_alive(&mut self, side: usize, context: &Context<'_>) -> Poll<io::Result<Pin<&mut TcpStream>>> {
        if self.life.is_dead() {
            return Poll::Pending;
        }
        if let Err(error) = self.breaker.check(side, context) {
            return Poll::Ready(Err(error));
        }
        match &mut self.inner {
            Some(inner) => Poll::Ready(Ok(Pin::new(inner))),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

const READING: usize = 0;
const WRITING: usize = 1;

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.poll_alive(READING, context) {
            Poll::Ready(Ok(inner)) => inner.poll_read(context, buffer),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.poll_alive(WRITING, context) {
            Poll::Ready(Ok(inner)) => inner.poll_write(context, bytes),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_alive(WRITING, context) {
            Poll::Ready(Ok(inner)) => inner.poll_flush(context),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_alive(WRITING, context) {
            Poll::Ready(Ok(inner)) => inner.poll_shutdown(context),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take()
            && self.life.is_silent()
        {
            self.stage.bury(inner);
        }
    }
}

/// Accepts connections for axum.
pub(super) struct SimListener {
    inner: TcpListener,
    life: Arc<Life>,
    stage: Arc<Stage>,
}

impl SimListener {
    pub(super) async fn bind(stage: &Arc<Stage>, life: &Arc<Life>, port: u16) -> io::Result<Self> {
        let inner = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(Self { inner, life: Arc::clone(life), stage: Arc::clone(stage) })
    }
}

impl axum::serve::Listener for SimListener {
    type Io = SimStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (SimStream, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.inner.accept().await
                && let Some(peer) = self.stage.name(address.ip())
            {
                return (SimStream::new(&self.stage, &self.life, &peer, stream), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Opens a connection to a host. Like the real thing it may take for ever: callers bring a deadline.
pub(super) async fn connect(stage: Arc<Stage>, life: Arc<Life>, to: NodeName, port: u16) -> io::Result<SimStream> {
    if life.is_dead() {
        return pending().await;
    }
    let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, format!("{to} refuses connections"));
    let (refuses, ways) = {
        let faults = stage.faults();
        (faults.refuses(&to), (faults.way(&life.host, &to), faults.way(&to, &life.host)))
    };
    match refuses {
        Some(true) => return pending().await,
        Some(false) => {
            sleep(Duration::from_micros(stage.latency_us(&life.host, &to) * 2)).await;
            return Err(refused());
        }
        None => {}
    }
    if stage.reachable(&to) == Reachable::Refuses && ways == (Way::Open, Way::Open) {
        // The process is gone and its machine answers; turmoil would leave the caller waiting.
        sleep(Duration::from_micros(stage.latency_us(&life.host, &to) * 2)).await;
        return Err(refused());
    }
    let address = stage.address(&to).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no host {to}")))?;
    let stream = TcpStream::connect((address, port)).await?;
    Ok(SimStream::new(&stage, &life, &to, stream))
}

/// Reaches the bus, for an instance's driver.
pub(super) struct SimConnector {
    stage: Arc<Stage>,
    life: Arc<Life>,
}

impl SimConnector {
    pub(super) fn new(stage: &Arc<Stage>, life: &Arc<Life>) -> Self {
        Self { stage: Arc::clone(stage), life: Arc::clone(life) }
    }
}

impl Connect for SimConnector {
    type Io = SimStream;

    async fn connect(&self) -> io::Result<SimStream> {
        connect(Arc::clone(&self.stage), Arc::clone(&self.life), cast::bus(), BUS_PORT).await
    }

    fn host(&self) -> &'static str {
        "bus"
    }
}
