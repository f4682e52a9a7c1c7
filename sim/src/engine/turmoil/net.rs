//! The network as processes see it: streams, listeners, connecting. A dead process's streams stand still until they are
//! dropped, and then say nothing if the whole machine died.

use std::{
    future::{pending, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use dacapo_core::NodeName;
use dacapo_service::driver::Connect;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

use super::{
    network::{EndId, Side},
    stage::{Life, Stage},
};
use crate::cast;

/// The port on which a bus listens.
pub(super) const BUS_PORT: u16 = 7_070;
/// The port on which an instance listens.
pub(super) const SERVICE_PORT: u16 = 80;

/// One end of a connection.
pub(super) struct SimStream {
    stage: Arc<Stage>,
    life: Arc<Life>,
    end: EndId,
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.life.is_dead() {
            return Poll::Pending;
        }
        self.stage.network(|network, _| network.poll_read(self.end, context, buffer))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.life.is_dead() {
            return Poll::Pending;
        }
        self.stage.network(|network, moment| network.poll_write(moment, self.end, context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.life.is_dead() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.life.is_dead() {
            return Poll::Pending;
        }
        self.stage.network(|network, moment| network.shut(moment, self.end));
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.stage.network(|network, moment| network.close(moment, self.end, self.life.is_silent()));
    }
}

/// Accepts connections for axum.
pub(super) struct SimListener {
    stage: Arc<Stage>,
    life: Arc<Life>,
    port: u16,
}

impl SimListener {
    pub(super) fn bind(stage: &Arc<Stage>, life: &Arc<Life>, port: u16) -> io::Result<Self> {
        stage.network(|network, _| network.listen(life, port))?;
        Ok(Self { stage: Arc::clone(stage), life: Arc::clone(life), port })
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.stage.network(|network, moment| network.deafen(moment, &self.life, self.port));
    }
}

impl axum::serve::Listener for SimListener {
    type Io = SimStream;
    type Addr = NodeName;

    async fn accept(&mut self) -> (SimStream, NodeName) {
        let accepted = poll_fn(|context| {
            if self.life.is_dead() {
                return Poll::Pending;
            }
            self.stage.network(|network, _| network.poll_accept(&self.life, self.port, context))
        });
        let (connection, caller) = accepted.await;
        let end = (connection, Side::Listener);
        let stream = SimStream { stage: Arc::clone(&self.stage), life: Arc::clone(&self.life), end };
        (stream, self.stage.name(caller).clone())
    }

    fn local_addr(&self) -> io::Result<NodeName> {
        Ok(self.life.host.clone())
    }
}

/// Opens a connection to a host. Like the real thing it may take for ever: callers bring a deadline.
pub(super) async fn connect(stage: Arc<Stage>, life: Arc<Life>, to: NodeName, port: u16) -> io::Result<SimStream> {
    if life.is_dead() {
        return pending().await;
    }
    let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, format!("{to} refuses connections"));
    let host = stage.id(&to).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no host {to}")))?;
    let refuses = stage.faults().refuses(&to);
    match refuses {
        Some(true) => return pending().await,
        Some(false) => {
            let one_way_us = stage.network(|network, moment| network.latency_us(moment.faults, life.id, host));
            sleep(Duration::from_micros(one_way_us * 2)).await;
            return Err(refused());
        }
        None => {}
    }
    let connection = stage.network(|network, moment| network.open(moment, life.id, host, port));
    let end = (connection, Side::Caller);
    let stream = SimStream { stage: Arc::clone(&stage), life: Arc::clone(&life), end };
    let opened = poll_fn(|context| {
        if life.is_dead() {
            return Poll::Pending;
        }
        stage.network(|network, _| network.poll_opened(connection, context))
    });
    match opened.await {
        Ok(()) => Ok(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(refused()),
        Err(error) => Err(error),
    }
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
