//! The line between an instance and the bus, which somebody may cut or hold up.
//!
//! A relay stands between the two. It passes on every byte or none: what is held comes later, in order; what is cut is
//! cut for both, as by a network that loses a connection.

use std::io;

use dacapo_service::driver::{Connect, TcpConnect};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    net::TcpStream,
    sync::watch,
};

/// What a relay may have in its hands, each way.
const BUFFER_BYTES: usize = 64 << 10;

/// What is the matter with a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Trouble {
    /// Nothing comes from the bus while this is so.
    is_held: bool,
    /// Counts the cuts.
    cuts: u64,
}

/// Makes trouble, and ends it.
#[derive(Debug, Clone)]
pub(super) struct Handle(watch::Sender<Trouble>);

impl Handle {
    /// Holds up what comes from the bus, or lets it go.
    pub(super) fn hold(&self, is_held: bool) {
        self.0.send_modify(|trouble| trouble.is_held = is_held);
    }

    /// Cuts the connection that there is.
    pub(super) fn cut(&self) {
        self.0.send_modify(|trouble| trouble.cuts += 1);
    }
}

/// Connects over a relay.
#[derive(Debug, Clone)]
pub(super) struct Line {
    to: TcpConnect,
    trouble: Handle,
}

impl Line {
    /// To the bus at this `host:port`.
    pub(super) fn new(bus: String) -> Self {
        Self { to: TcpConnect::new(bus), trouble: Handle(watch::Sender::new(Trouble::default())) }
    }

    /// For whoever makes trouble.
    pub(super) fn handle(&self) -> Handle {
        self.trouble.clone()
    }
}

impl Connect for Line {
    type Io = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let far = self.to.connect().await?;
        let (near, end) = duplex(BUFFER_BYTES);
        tokio::spawn(relay(end, far, self.trouble.0.subscribe()));
        Ok(near)
    }

    fn host(&self) -> &str {
        self.to.host()
    }
}

/// Passes on until one side ends, or the line is cut.
async fn relay(near: DuplexStream, far: TcpStream, mut trouble: watch::Receiver<Trouble>) {
    let (mut near_read, mut near_write) = tokio::io::split(near);
    let (mut far_read, mut far_write) = far.into_split();
    let mut held = trouble.clone();
    let cuts = trouble.borrow().cuts;
    let up = async { tokio::io::copy(&mut near_read, &mut far_write).await.map(drop) };
    let down = async {
        let mut bytes = vec![0; BUFFER_BYTES];
        loop {
            let count = far_read.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            // The line's own end keeps the sender.
            let _ = held.wait_for(|trouble| !trouble.is_held).await;
            near_write.write_all(&bytes[..count]).await?;
        }
    };
    let ended: io::Result<()> = tokio::select! {
        biased;
        _ = trouble.wait_for(|trouble| trouble.cuts != cuts) => Ok(()),
        ended = down => ended,
        ended = up => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a line has ended");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    #[test]
    fn what_is_held_comes_later_and_what_is_cut_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let line = Line::new(listener.local_addr().unwrap().to_string());
            let mut near = line.connect().await.unwrap();
            let (mut far, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            line.handle().hold(true);
            far.write_all(b"a").await.unwrap();
            assert!(timeout(Duration::from_millis(50), near.read_exact(&mut byte)).await.is_err(), "it is held");
            line.handle().hold(false);
            near.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, *b"a");
            near.write_all(b"b").await.unwrap();
            far.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, *b"b");
            line.handle().cut();
            assert_eq!(near.read(&mut byte).await.unwrap(), 0);
            assert_eq!(far.read(&mut byte).await.unwrap(), 0);
        });
    }
}
